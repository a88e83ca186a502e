"""From which probability on a model's estimator should be believed, by training damage of crops that it has not seen.

    DTIR_DATA=DATA python -m benchmarks.confidence MODEL --samples 440

Crops are drawn as the training of the universal model draws them, all classes alike, with random numbers that no
training used; each is restored once as its estimated damage. No picture of the scoreboard is looked at. With
--training configs/models/universal_estimator_mixtures.py a quarter of the crops have two damages. With --pairs, the
real pairs of the training take the place of the crops. With --clean, clean pictures of the training are judged, whole:
how many would be restored, with the odds of a glance multiplied by each of --glance-odds.
"""

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.progress import track

from benchmarks.lab import REPO, markdown
from benchmarks.weights import TRAINING, held_out, quality, read_pairs
from dtir.apis import RestorationInferencer
from dtir.apis.models.packing import weigh_classes
from dtir.cli import exit_code
from dtir.cli.launching import load_config
from dtir.cli.numbers import positive_int
from dtir.core.errors import ConfigError
from dtir.datasets.sampler import StageDraws
from dtir.imaging.files import read_rgb
from dtir.imaging.listing import list_images
from dtir.registry import DATASETS
from dtir.tasks import CLEAN

# Of the random numbers: no training has as many stages.
STAGE = 1000
THRESHOLDS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
OF_TWO = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
HARM = 0.5


@dataclass(frozen=True)
class Try:
    """A crop, the damage that was estimated, its probability and that of the two likeliest together, and PSNR in dB
    before and after it was restored."""

    task: str
    estimated: str
    confidence: float
    of_two: float
    before: float
    after: float

    @property
    def gain(self) -> float:
        """What restoring it gains, in dB; 0 where the estimate is that nothing is to be done."""
        return 0.0 if self.estimated == CLEAN else self.after - self.before


def crops(samples: int, side: int, training: Path = TRAINING) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Task, degraded and clean crop, (side, side, 3) uint8, as the config `training` draws them."""
    dataset = DATASETS.build(load_config(training).train_dataloader.dataset)
    draws = StageDraws(0, STAGE, range(len(dataset.sizes)), dataset.sizes, patch=side)
    for draw in range(samples):
        item = dataset[draws.key_at(draw)]
        sample = item["data_samples"]
        yield dataset.tasks[int(sample["task"])], _eight_bits(item["inputs"]), _eight_bits(sample["gt"])


def real_pairs(data: Path, each: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Folder, degraded and clean picture of at most `each` pairs of every folder that is trained on."""
    held = {name: {pair.name for pair in pairs} for name, pairs in held_out(sys.maxsize).items()}
    for folder in sorted((data / "train_pairs").iterdir()):
        pairs = [p for p in read_pairs(folder, CLEAN, sys.maxsize) if p.name not in held.get(folder.name, ())]
        for number in np.linspace(0, len(pairs) - 1, min(each, len(pairs))).astype(int):
            yield folder.name, pairs[number].lq, pairs[number].gt


def tries(inferencer: RestorationInferencer, pictures: Iterable[tuple[str, np.ndarray, np.ndarray]]) -> list[Try]:
    """What becomes of pictures that are restored as estimated."""
    found = []
    for task, lq, gt in track(list(pictures), "pictures"):
        estimate = inferencer.judge.estimate(torch.from_numpy(lq).permute(2, 0, 1)[None] / 255)
        before = after = quality(lq, gt)[0]
        if estimate.task != CLEAN:
            restored = np.clip(inferencer.restore_array(lq, task=estimate.task), 0, 1)
            after = quality(np.rint(restored * 255).astype(np.uint8), gt)[0]
        found.append(Try(task, *estimate, before, after))
    return found


def table(found: Sequence[Try], threshold: str, sure: Mapping[float, Callable[[Try], bool]]) -> str:
    """Rows by threshold: how many damaged crops are restored and gain how much, and what becomes of clean ones.

    Args:
        found: Of both kinds.
        threshold: What it is a threshold of.
        sure: By threshold, whether a crop is restored.
    """
    damaged = [item for item in found if item.task != CLEAN]
    clean = [item for item in found if item.task == CLEAN]
    rows = []
    for value, restores in sure.items():
        gains = np.array([item.gain if restores(item) else 0.0 for item in damaged])
        kept = [item.before + (item.gain if restores(item) else 0.0) for item in clean]
        rows.append(
            (
                f"{value:g}",
                f"{100 * np.mean(gains != 0):.0f} %",
                f"{gains.mean():+.2f}",
                f"{100 * np.mean(gains < -HARM):.1f} %",
                f"{gains.min():+.2f}",
                f"{np.mean(kept):.1f} / {min(kept):.1f}",
            )
        )
    header = [threshold, "restored", "mean gain", f"lose over {HARM} dB", "worst", "clean: mean / worst dB"]
    return markdown(header, rows)


def by_confidence(threshold: float) -> Callable[[Try], bool]:
    """Whether the estimate is at least so probable."""
    return lambda item: item.confidence >= threshold


def by_two(threshold: float, least: float) -> Callable[[Try], bool]:
    """Whether the estimate is at least as probable as `least`, or it and the next damage together as `threshold`."""
    return lambda item: item.confidence >= least or item.of_two >= threshold


def folder_table(found: Sequence[Try], restores: Callable[[Try], bool]) -> str:
    """Rows by folder: what its pairs are surely taken for, and what restoring them so gains."""
    rows = []
    for folder in dict.fromkeys(item.task for item in found):
        sure = [item for item in found if item.task == folder and restores(item)]
        for damage in sorted({item.estimated for item in sure}):
            gains = [item.gain for item in sure if item.estimated == damage]
            rows.append((folder, damage, len(gains), f"{np.mean(gains):+.2f}", f"{min(gains):+.2f}"))
    return markdown(["pairs of", "taken for", "pairs", "mean gain", "worst"], rows)


def clean_pictures(data: Path, each: int) -> Iterator[np.ndarray]:
    """At most `each` of the clean photographs of every folder, and GTs of every folder of pairs that is trained on."""
    for folder in sorted(path for path in (data / "clean").iterdir() if path.is_dir()):
        paths = list_images(folder, recursive=True)
        for number in np.linspace(0, len(paths) - 1, min(each, len(paths))).astype(int):
            yield read_rgb(paths[number])
    for _, _, gt in real_pairs(data, each):
        yield gt


def restored_by_odds(
    inferencer: RestorationInferencer, pictures: Iterable[np.ndarray], factors: Sequence[float]
) -> dict[float, list[str]]:
    """By factor on the odds of all that a glance tells, what pictures (H, W, 3), uint8, would be restored as.

    Raises:
        ConfigError: A factor is not positive, or is not 1 and the estimator has no glance.
    """
    judge, found = inferencer.judge, {factor: [] for factor in factors}
    glance = judge.estimator.glance
    if glance is None and set(factors) != {1.0}:
        raise ConfigError("the estimator has no glance, which --glance-odds is of.")
    for picture in pictures:
        image = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 255
        for factor in factors:
            own = None if glance is None else glance.head.bias.clone()
            if glance is not None:
                weigh_classes(glance, dict.fromkeys(glance.told, factor))
            estimate = judge.estimate(image)
            if glance is not None:
                glance.head.bias.data.copy_(own)
            if judge.calls_for(estimate):
                found[factor].append(estimate.task)
    return found


def main() -> int:
    """Tries and prints; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="checkpoint or model file with an estimator")
    parser.add_argument("--data", type=Path, default=os.environ.get("DTIR_DATA", REPO.parent / "shared" / "data"))
    parser.add_argument("--samples", type=positive_int, default=440, help="crops")
    parser.add_argument("--side", type=positive_int, default=256, help="of the crops, in pixels")
    parser.add_argument("--training", type=Path, default=TRAINING, metavar="CONFIG", help="whose crops are drawn")
    parser.add_argument("--pairs", type=positive_int, metavar="N", help="judge N real pairs of each folder instead")
    parser.add_argument("--clean", type=positive_int, metavar="N", help="judge N clean pictures of each folder instead")
    odds = {"type": float, "nargs": "+", "default": [1.0], "metavar": "FACTOR"}
    parser.add_argument("--glance-odds", **odds, help="of a glance, with --clean")
    args = parser.parse_args()
    os.environ["DTIR_DATA"] = str(args.data.resolve())
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    inferencer = RestorationInferencer(args.model)
    least = inferencer.judge.judgement.least_confidence
    if args.pairs:
        print(f"Taken for something with a probability of at least {least:g}:\n")
        print(folder_table(tries(inferencer, real_pairs(args.data, args.pairs)), by_confidence(least)))
        return 0
    if args.clean:
        pictures = list(clean_pictures(args.data, args.clean))
        print(f"Of {len(pictures)} clean pictures of the training, restored:\n")
        restored = restored_by_odds(inferencer, track(pictures, transient=True), args.glance_odds)
        rows = ((f"{factor:g}", len(names), *_counted(names)) for factor, names in restored.items())
        print(markdown(["odds of the glance", "pictures", "as"], rows))
        return 0
    found = tries(inferencer, crops(args.samples, args.side, args.training))
    right = np.mean([item.task == item.estimated for item in found])
    print(f"{len(found)} crops of {args.side} pixels; {100 * right:.0f} % taken for what they are.\n")
    print(table(found, "least confidence", {value: by_confidence(value) for value in THRESHOLDS}))
    print(f"\nWith a confidence of {least:g}, or of the two likeliest damages together:\n")
    print(table(found, "least of two", {value: by_two(value, least) for value in OF_TWO}))
    return 0


def _counted(names: Sequence[str]) -> tuple[str]:
    return (", ".join(f"{name} {names.count(name)}" for name in sorted(set(names))) or "-",)


def _eight_bits(image: torch.Tensor) -> np.ndarray:
    array = image.permute(1, 2, 0).numpy()
    return array if array.dtype == np.uint8 else np.rint(np.clip(array, 0, 1) * 255).astype(np.uint8)


if __name__ == "__main__":
    sys.exit(exit_code(main))
