"""How a task is learned later."""

import math
from dataclasses import dataclass
from pathlib import Path

from dtir.core.errors import ConfigError

METHODS = ("adapters", "full")
# Peak learning rates by method.
RATES = {"adapters": 2e-3, "full": 2e-4}


@dataclass(frozen=True)
class AdaptationSettings:
    """How a task is learned.

    Attributes:
        method: "adapters" trains parts of the new task's own, and leaves every old task bit for bit what it was; "full"
            trains the whole network, too, which is held near what it was where its old outputs depend on it.
        iters: Most iterations; it ends before where the held-out pairs stop gaining.
        lr: Peak learning rate; None is 2e-3 for adapters and 2e-4 for the whole network. Where it is held by any of the
            below, the new task's own parts learn ten times as fast.
        batch_size: Crops per iteration.
        patch: Side of the crops in pixels.
        rank: Channels inside of each adapter.
        importance: Weight of what holds the whole network, see `OutputImportance`.
        replay: Folder of pairs of old tasks, `<task>/LQ` and `<task>/GT`; None makes pairs by `old_pictures`.
        replay_share: Share of the whole network's training samples that are of old tasks, with the old outputs as
            targets.
        tolerance: Most dB of PSNR that an old task may lose on these pairs by the whole network's training; `math.inf`
            sets no limit.
        interval: Iterations between two looks at the held-out pairs.
        seed: Seed of the crops and of the split.
    """

    method: str = "adapters"
    iters: int = 1000
    lr: float | None = None
    batch_size: int = 8
    patch: int = 96
    rank: int = 8
    importance: float = 10.0
    replay: str | Path | None = None
    replay_share: float = 0.05
    tolerance: float = 0.1
    interval: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"method '{self.method}'; expected one of {', '.join(METHODS)}.")
        numbers = (self.iters, self.batch_size, self.patch, self.rank, self.interval)
        if min(numbers) < 1 or (self.lr is not None and self.lr <= 0) or self.importance < 0 or self.seed < 0:
            raise ConfigError(
                "iters, batch_size, patch, rank, interval and lr must be positive, importance and seed not negative."
            )
        if not 0 <= self.replay_share < 1 or not self.tolerance > 0:
            raise ConfigError(
                f"replay_share={self.replay_share}, tolerance={self.tolerance}; expected a share from 0 to less than "
                "1, and a tolerance above 0 dB."
            )

    @property
    def keeps(self) -> bool:
        """Whether anything holds what would change else."""
        limited = bool(self.importance or self.replay_share) or math.isfinite(self.tolerance)
        return self.method == "full" and limited

    @property
    def peak_lr(self) -> float:
        """The learning rate in use."""
        return self.lr or RATES[self.method]
