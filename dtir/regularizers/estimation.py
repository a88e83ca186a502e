"""The samples that importances are estimated on: the same for any number of processes, and in a resumed run."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from dtir.core.seeding import derive_seed
from dtir.datasets import SampleKey

# Draws of the data end here; training counts up from 0.
LAST_DRAW = 2**31 - 1


def generative_batches(
    runner, seed_stage: int, chunks: Iterable[Sequence[int]], num_samples: int
) -> Iterator[dict[str, Tensor]]:
    """Clean pictures of all tasks in turn, noised to random steps.

    Args:
        runner: The runner, in a training.
        seed_stage: Number of the stage, for the seeds.
        chunks: Numbers of the samples of each batch, out of `range(num_samples)`.
        num_samples: Samples of the whole estimate.

    Yields:
        `x` (B, 3, H, W), steps `t` (B,), and `noise`, the residual to find in x.
    """
    model = runner.model
    for chunk in told(runner, chunks):
        _, gt, _ = _pictures(runner, seed_stage, chunk, num_samples, generative=True)
        generators = [torch.Generator().manual_seed(derive_seed(runner.seed, seed_stage, k)) for k in chunk]
        t = torch.stack([torch.randint(1, model.num_timesteps + 1, (), generator=g) for g in generators]).to(gt.device)
        eps = torch.stack([torch.randn(gt.shape[1:], generator=g) for g in generators]).to(gt.device)
        x, noise = model.noised(gt, t, eps)
        yield {"x": x, "t": t, "noise": noise}


def degraded_batches(
    runner, seed_stage: int, chunks: Iterable[Sequence[int]], num_samples: int
) -> Iterator[dict[str, Tensor]]:
    """Degraded pictures `x` of all tasks in turn, with their matched steps `t`; as `generative_batches`."""
    for chunk in told(runner, chunks):
        lq, _, tasks = _pictures(runner, seed_stage, chunk, num_samples, generative=False)
        yield {"x": lq, "t": runner.model.timestep_of(tasks)}


def told(runner, chunks: Iterable[Sequence[int]]) -> Iterator[Sequence[int]]:
    """Hands chunks on, and tells the hooks how many of this process's are done."""
    parts = list(chunks)
    for done, chunk in enumerate(parts, start=1):
        yield chunk
        runner.call_hook("on_estimate", what="importance", done=done, total=len(parts))


def _pictures(
    runner, seed_stage: int, chunk: Sequence[int], num_samples: int, generative: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """LQ and GT (B, 3, H, W) in [0, 1] and tasks (B,) of training items, on the model's device."""
    dataset, device = runner.train_dataloader.dataset, next(runner.model.parameters()).device
    first = LAST_DRAW - num_samples
    tasks = [k % len(dataset.tasks) for k in chunk]
    items = [
        dataset[SampleKey(seed_stage, first + k, task, k % dataset.sizes[task], generative)]
        for k, task in zip(chunk, tasks, strict=True)
    ]
    lq = torch.stack([item["inputs"] for item in items]).to(device).float() / 255
    gt = torch.stack([item["data_samples"]["gt"] for item in items]).to(device).float() / 255
    return lq, gt, torch.tensor(tasks, device=device)
