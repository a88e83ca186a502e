"""The learning rate as a closed form of (stage, iteration within the stage)."""

import math

from dtir.engine.stages import Stage


def learning_rate(stage: Stage, iteration: int) -> float:
    """The learning rate of a stage's iteration (0-based): linear warm-up, then the stage's decay to `min_lr`."""
    if iteration < stage.warmup_iters:
        return stage.lr * (iteration + 1) / stage.warmup_iters
    if stage.schedule == "constant":
        return stage.lr
    progress = (iteration - stage.warmup_iters) / max(1, stage.iters - stage.warmup_iters)
    remaining = 0.5 * (1 + math.cos(math.pi * progress)) if stage.schedule == "cosine" else 1 - progress
    return stage.min_lr + (stage.lr - stage.min_lr) * remaining
