"""Keeps what a network does for its old tasks while all of it learns a new one: rehearsal, and a limit to the loss."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dtir.core.errors import DatasetError
from dtir.datasets import PairedDataset, SyntheticDataset
from dtir.datasets.base import RestorationDataset
from dtir.datasets.degradations import TASK_DEGRADATIONS
from dtir.models import DiffusionRestorer

# Crops per old task that the loss is measured on.
MEASURED = 8
# Halvings in the search for how far the network may go.
HALVINGS = 6


def old_pictures(
    tasks: Sequence[str], pairs: PairedDataset, chosen: Sequence[int], replay: str | Path | None, patch: int
) -> list[RestorationDataset]:
    """For each old task, pairs like those that it was trained on.

    They are the pairs in `replay/<task>` where there are any. Else the clean pictures of the new pairs are damaged by
    the task's synthetic degradation; a task that has none is rehearsed on the new pairs themselves.

    Args:
        tasks: The old tasks.
        pairs: The new pairs.
        chosen: Indices of those that are trained on.
        replay: Folder of `<task>/LQ` and `<task>/GT`, or None.
        patch: Side of the crops.

    Raises:
        DatasetError: `replay` has none of the tasks, or a folder in it lacks pictures.
    """
    root = Path(replay).resolve() if replay is not None else None
    if root is not None and not any((root / task).is_dir() for task in tasks):
        raise DatasetError(f"replay folder '{root}' has no folder of an old task; expected one of {', '.join(tasks)}.")
    clean = [Path(pairs.records[index]["gt_path"]) for index in chosen]
    sources: list[RestorationDataset] = []
    for task in tasks:
        if root is not None and (root / task).is_dir():
            sources.append(PairedDataset(task, root / task, patch=patch))
        elif task in TASK_DEGRADATIONS:
            files = [path.name for path in clean]
            sources.append(SyntheticDataset(task, clean[0].parent, files=files, patch=patch))
        else:
            sources.append(pairs)
    return sources


class Rehearsal:
    """The old tasks of a network: pictures of theirs, and what it made of them before it learned anything new.

    Args:
        old: The network, which must not change afterwards.
        sources: Pairs of each of its tasks.
        share: Share of the training samples that are rehearsed.
        seed: Seed of the crops.
        device: Device of the network.
    """

    def __init__(
        self, old: DiffusionRestorer, sources: Sequence[RestorationDataset], share: float, seed: int, device
    ) -> None:
        self.old, self.sources, self.share, self.seed, self.device = old, sources, share, seed, device
        self.steps = old.matched_t.clamp(min=0).tolist()
        rng = np.random.default_rng((seed, 3))
        self.measured = [self._crops(task, MEASURED, rng) for task in range(len(sources))]
        with torch.inference_mode():
            self.before = [self._errors(old, task) for task in range(len(sources))]

    def _crops(self, task: int, count: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        source = self.sources[task]
        items = [source.training_item(int(rng.integers(len(source))), rng) for _ in range(count)]
        lq = torch.stack([item["inputs"] for item in items])
        gt = torch.stack([item["data_samples"]["gt"] for item in items])
        return lq.to(self.device).float() / 255, gt.to(self.device).float() / 255

    def _errors(self, model: DiffusionRestorer, task: int) -> tuple[Tensor, Tensor]:
        lq, gt = self.measured[task]
        restored = model.restore(lq, self._at(task, len(lq))).clamp(0, 1)
        return restored, (restored - gt).square().mean((1, 2, 3))

    def _at(self, task: int, count: int) -> Tensor:
        return torch.full((count,), self.steps[task], device=self.device)

    def pictures(self) -> Tensor:
        """Damaged crops (N, 3, patch, patch), the old tasks in turn."""
        crops = torch.stack([lq for lq, _ in self.measured], 1)
        return crops.flatten(0, 1)

    def steps_in_turn(self) -> Tensor:
        """The old tasks' steps (K,), in the order of `pictures`."""
        return torch.tensor(self.steps, device=self.device)

    def mixed(self, lq: Tensor, gt: Tensor, t: Tensor, iteration: int) -> tuple[Tensor, Tensor, Tensor]:
        """A batch in which each sample is, with probability `share`, one of an old task: its target is the old output.

        Args:
            lq: New inputs (B, 3, H, W).
            gt: Their targets.
            t: Their steps (B,).
            iteration: Iteration of the training; what is rehearsed depends on it and on the seed alone.
        """
        rng = np.random.default_rng((self.seed, 4, iteration))
        lq, gt, t = lq.clone(), gt.clone(), t.clone()
        for sample in np.flatnonzero(rng.random(len(lq)) < self.share).tolist():
            task = int(rng.integers(len(self.sources)))
            lq[sample], t[sample] = self._crops(task, 1, rng)[0][0], self.steps[task]
            with torch.no_grad():
                gt[sample] = self.old.restore(lq[sample : sample + 1], t[sample : sample + 1])[0]
        return lq, gt, t

    @torch.inference_mode()
    def losses(self, model: DiffusionRestorer) -> dict[str, float]:
        """How many dB of PSNR each old task has lost, the mean over crops.

        Where the outputs have moved by chance to the better, the loss is still what the same change costs where it has
        nothing to do with the error: `10 log10(1 + moved^2 / error^2)`.
        """
        lost = {}
        for task, name in enumerate(self.old.tasks):
            old, error = self.before[task]
            new, now = self._errors(model, task)
            moved = (new - old).square().mean((1, 2, 3))
            tiny = torch.finfo(error.dtype).eps
            plain = 10 * torch.log10((now + tiny) / (error + tiny))
            unrelated = 10 * torch.log10(1 + moved / (error + tiny))
            lost[name] = max(plain.mean().item(), unrelated.mean().item())
        return lost


class Limit:
    """Takes back so much of the change of shared parameters that no old task loses more than is tolerated.

    Args:
        shared: The parameters, as they were before.
        rehearsal: Measures what is lost.
        tolerance: In dB.
    """

    def __init__(self, shared: Sequence[nn.Parameter], rehearsal: Rehearsal, tolerance: float) -> None:
        self.shared, self.rehearsal, self.tolerance = shared, rehearsal, tolerance
        self.anchors = [p.detach().clone() for p in shared]

    @torch.no_grad()
    def hold(self, model: DiffusionRestorer) -> float:
        """Goes back towards the start until the loss is tolerated; returns the share of the change that stays."""
        if math.isinf(self.tolerance) or self._tolerated(model):
            return 1.0
        changes = [p - anchor for p, anchor in zip(self.shared, self.anchors, strict=True)]
        low, high = 0.0, 1.0
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            self._set(changes, middle)
            low, high = (middle, high) if self._tolerated(model) else (low, middle)
        self._set(changes, low)
        return low

    def _set(self, changes: Sequence[Tensor], share: float) -> None:
        for p, anchor, change in zip(self.shared, self.anchors, changes, strict=True):
            p.copy_(anchor + share * change)

    def _tolerated(self, model: DiffusionRestorer) -> bool:
        return max(self.rehearsal.losses(model).values()) <= self.tolerance
