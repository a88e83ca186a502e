"""Features of a network by degradation: how far they keep the degradations apart, and a map of them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dtir.core.atomic import atomic_write
from dtir.core.errors import ConfigError, DatasetError
from dtir.datasets import MultiTaskDataset
from dtir.evaluation.reports.run.record import EMBEDDING
from dtir.evaluation.reports.run.tsne import tsne
from dtir.models import Restorer


@dataclass(frozen=True)
class Crops:
    """Degraded crops to look at.

    Attributes:
        lq: (N, 3, S, S) in [0, 1].
        tasks: Index of the task of each, (N,).
        photographs: Number of the photograph each is of, (N,); one photograph serves many tasks.
    """

    lq: Tensor
    tasks: Tensor
    photographs: Tensor


def crops_of(dataset: MultiTaskDataset, size: int = 64, per_picture: int = 16) -> Crops:
    """Crops of the evaluation pictures of all tasks, evenly spread over each picture.

    Args:
        dataset: Evaluation pictures.
        size: Height and width of a crop.
        per_picture: Most crops of a picture.

    Raises:
        DatasetError: A picture is smaller than a crop.
    """
    lq, tasks, photographs = [], [], []
    known: dict[str, int] = {}
    for index in range(len(dataset)):
        item = dataset[index]
        sample = item["data_samples"]
        found = list(_grid(item["inputs"], size, per_picture, sample["name"]))
        lq += found
        tasks += [sample["task"]] * len(found)
        photographs += [known.setdefault(sample["name"], len(known))] * len(found)
    return Crops(torch.stack(lq).float() / 255, torch.tensor(tasks), torch.tensor(photographs))


def _grid(picture: Tensor, size: int, number: int, name: str) -> Iterator[Tensor]:
    height, width = picture.shape[-2:]
    if min(height, width) < size:
        raise DatasetError(f"picture '{name}' is {height}x{width}, smaller than a crop of {size}: give a smaller size.")
    places = [(y, x) for y in range(0, height - size + 1, size) for x in range(0, width - size + 1, size)]
    count = min(number, len(places))
    for k in range(count):
        y, x = places[k * len(places) // count]
        yield picture[:, y : y + size, x : x + size]


def deepest_block(model: Restorer) -> str:
    """Name of the last of the backbone's blocks, which are named shallow to deep."""
    return model.backbone.ordered_blocks()[-1]


@torch.no_grad()
def pooled_features(model: Restorer, crops: Crops, steps: Tensor, block: str, batch_size: int = 32) -> Tensor:
    """The output of a block of the backbone, averaged over positions.

    Args:
        model: In eval mode.
        crops: N crops.
        steps: Time step given to the network for each task, (tasks,).
        block: Name of a block in the backbone.
        batch_size: Crops per forward pass.

    Returns:
        Features (N, C), float32, on the CPU.

    Raises:
        ConfigError: The backbone has no such block, or it gives no features (B, C, H, W) or tokens (B, N, C).
    """
    module = _block(model.backbone, block)
    device = model.matched_t.device
    seen: list[Tensor] = []
    handle = module.register_forward_hook(lambda _, args, output: seen.append(_pool(output, block)))
    try:
        for lq, task in zip(crops.lq.split(batch_size), crops.tasks.split(batch_size), strict=True):
            model.restore(lq.to(device), steps[task].to(device))
    finally:
        handle.remove()
    features = torch.cat(seen)
    if len(features) != len(crops.lq):
        raise ConfigError(f"block '{block}' runs {len(features)} times for {len(crops.lq)} crops: name another block.")
    return features


def _block(backbone: nn.Module, name: str) -> nn.Module:
    blocks = backbone.ordered_blocks()
    if name not in blocks:
        raise ConfigError(f"{type(backbone).__name__} has no block '{name}': expected one of {', '.join(blocks)}.")
    return backbone.get_submodule(name)


def _pool(output: object, name: str) -> Tensor:
    if not isinstance(output, Tensor) or output.ndim not in (3, 4):
        raise ConfigError(f"block '{name}' gives no features (B, C, H, W) or tokens (B, N, C): name another block.")
    return output.float().mean((2, 3) if output.ndim == 4 else 1).cpu()


def standardized(features: Tensor) -> Tensor:
    """Features (N, C) with mean 0 and deviation 1 in every channel; channels that never change are 0."""
    centred = features.double() - features.double().mean(0)
    deviation = centred.square().mean(0).sqrt()
    return torch.where(deviation > 1e-12, centred / deviation.clamp(min=1e-12), torch.zeros_like(centred))


def purity(features: Tensor, tasks: Tensor, photographs: Tensor) -> float:
    """Share of the points whose nearest point of another photograph has their own task, in [0, 1].

    The content of a photograph would otherwise decide: its other crops look alike whatever the damage.

    Args:
        features: (N, C).
        tasks: (N,).
        photographs: (N,).

    Raises:
        DatasetError: All points are of one photograph.
    """
    distance = torch.cdist(features, features)
    distance[photographs[:, None] == photographs] = torch.inf
    if distance.isinf().all(1).any():
        raise DatasetError("features of one photograph alone say nothing: evaluate on two or more.")
    return (tasks[distance.argmin(1)] == tasks).double().mean().item()


def feature_map(title: str, features: Tensor, crops: Crops) -> dict:
    """Plain values of one map: `{title, purity, points: [[x, y]], groups: [task index]}`."""
    x = standardized(features)
    return {
        "title": title,
        "purity": purity(x, crops.tasks, crops.photographs),
        "points": [[round(v, 4) for v in point] for point in tsne(x).tolist()],
        "groups": crops.tasks.tolist(),
    }


def write_embedding(folder: str | Path, maps: Sequence[dict], tasks: Sequence[str], block: str, steps: str) -> Path:
    """Writes `embedding.json` atomically: `{block, steps, tasks, maps}`.

    Args:
        folder: The report folder of a run.
        maps: From `feature_map`.
        tasks: Names of the tasks.
        block: Name of the block.
        steps: In words, which time steps the networks were given.
    """
    path = Path(folder) / EMBEDDING
    with atomic_write(path, "w", encoding="utf-8") as file:
        json.dump({"block": block, "steps": steps, "tasks": list(tasks), "maps": list(maps)}, file)
    return path
