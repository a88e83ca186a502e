"""The scoreboard of a model that restores: real pictures it has not seen, the task given and estimated.

    DTIR_DATA=DATA python -m benchmarks.weights MODEL --out OUT

DATA holds real10/, generalization/ and train_pairs/. MODEL is a checkpoint or a model file. Of train_pairs/ only those
pairs are looked at that the config of the training holds out (`held_every`). OUT gets `weights.md`, `scores.json` and
pictures.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
import torch

from benchmarks.lab import REPO, markdown, picture
from benchmarks.usual_tools import USUAL
from dtir.apis import RestorationInferencer
from dtir.cli import exit_code
from dtir.cli.launching import load_config
from dtir.cli.numbers import natural, positive_int
from dtir.core.atomic import atomic_write
from dtir.datasets import PairedDataset
from dtir.datasets.degradations import Degradation
from dtir.datasets.transforms.degrade import build_degradation
from dtir.evaluation.metrics.functional import psnr, ssim
from dtir.evaluation.reports.panels import PanelRow, save_panel
from dtir.imaging.files import read_rgb
from dtir.tasks import CLEAN, TASKS

TRAINING = REPO / "configs" / "models" / "universal_nafnet.py"
# Equal pictures have no finite PSNR; in means they count as this one.
MOST = 60.0
# First damage, second damage: class, severity and the name that a user would give it.
MIXTURES = {
    "low light + noise": (("LowLight", 0.3, "low-light"), ("GaussianNoise", 0.15, "noisy")),
    "noise + JPEG": (("GaussianNoise", 0.2, "noisy"), ("JPEGCompression", 0.3, "jpeg-compressed")),
    "haze + rain": (("Haze", 0.6, "hazy"), ("RainStreaks", 0.3, "rainy")),
}


@dataclass(frozen=True)
class Pair:
    """A degraded and a clean picture, RGB uint8, and the mask (H, W) of what is there (255) where a file holds one."""

    name: str
    task: str
    lq: np.ndarray
    gt: np.ndarray
    mask: np.ndarray | None = None


@dataclass(frozen=True)
class Score:
    """PSNR in dB and SSIM of one picture against the clean one: as it came, restored by name, by estimate, as usual."""

    set: str
    name: str
    psnr_input: float
    psnr_given: float
    ssim_given: float
    psnr_auto: float
    ssim_auto: float
    psnr_usual: float
    estimated: str


@dataclass(frozen=True)
class Scored:
    """A score and the pictures it is of: as it came, restored by name, by estimate, and clean."""

    score: Score
    pictures: tuple[np.ndarray, ...]

    @property
    def gain(self) -> float:
        """PSNR that restoring by estimate gained, in dB."""
        return self.score.psnr_auto - self.score.psnr_input


def read_pairs(folder: Path, task: str, limit: int, records: Iterable[dict] | None = None) -> list[Pair]:
    """The first pictures of a folder with LQ/ and GT/, or of given records."""
    records = PairedDataset(task, folder.resolve()).records if records is None else records
    return [_pair(record, task) for record in list(records)[:limit]]


def _pair(record: dict, task: str) -> Pair:
    lq = Path(record["lq_path"])
    mask = lq.parents[1] / "mask" / lq.name
    found = read_rgb(mask)[..., 0] if mask.is_file() else None
    return Pair(record["name"], task, read_rgb(lq), read_rgb(record["gt_path"]), found)


def held_out(limit: int) -> dict[str, list[Pair]]:
    """The pairs that the training leaves out, by folder of train_pairs/, as its config says."""
    sets = {}
    for mixture in load_config(TRAINING).train_dataloader.dataset.datasets:
        for source in mixture.datasets:
            if source.get("held_every"):
                records = PairedDataset(mixture.task, source.data_root, held_every=source.held_every, held=True).records
                sets[Path(source.data_root).name] = read_pairs(Path(), mixture.task, limit, records)
    return sets


def quality(image: np.ndarray, gt: np.ndarray) -> tuple[float, float]:
    """PSNR, at most `MOST`, and SSIM of RGB pictures, rounded to 8 bits."""
    restored, target = picture(image), picture(gt)
    return min(MOST, psnr(restored, target).item()), ssim(restored, target).item()


class Scorer:
    """Restores pictures in all ways that are compared.

    Args:
        model: Checkpoint or model file.
        options: Options of `RestorationInferencer`.
    """

    def __init__(self, model: str, **options) -> None:
        self.inferencer = RestorationInferencer(model, **options)

    def given(self, rgb: np.ndarray, *tasks: str) -> np.ndarray:
        """Restored by name, one task after another, in 8 bits as files are."""
        for task in tasks:
            rgb = np.rint(np.clip(self.inferencer.restore_array(rgb, task=task), 0, 1) * 255).astype(np.uint8)
        return rgb

    def score(self, name: str, pair: Pair) -> "Scored":
        """All of one picture."""
        estimated = self.inferencer.estimate_task(pair.lq)
        given, auto = self.given(pair.lq, pair.task), self.given(pair.lq, "auto")
        usual = USUAL[pair.task](pair.lq, pair.mask)
        score = Score(
            name,
            pair.name,
            quality(pair.lq, pair.gt)[0],
            *quality(given, pair.gt),
            *quality(auto, pair.gt),
            quality(usual, pair.gt)[0],
            estimated,
        )
        print(f"{name} {pair.name}: {score.psnr_input:.2f} -> {score.psnr_given:.2f}, auto {score.psnr_auto:.2f}")
        return Scored(score, (pair.lq, given, auto, pair.gt))

    def score_sets(self, sets: dict[str, list[Pair]]) -> dict[str, list["Scored"]]:
        """All pictures of all sets that have any."""
        return {name: [self.score(name, pair) for pair in pairs] for name, pairs in sets.items() if pairs}


def mixed(first: tuple, second: tuple, clean: np.ndarray, seed: int) -> np.ndarray:
    """A clean picture with two damages, one after the other, in 8 bits."""
    rng, image = np.random.default_rng(seed), clean.astype(np.float32) / 255
    for kind, severity, _ in (first, second):
        damage: Degradation | Callable = build_degradation(kind)
        image = damage(image, rng, severity)
    return np.rint(image * 255).astype(np.uint8)


def mixture_rows(scorer: Scorer, clean: Sequence[np.ndarray]) -> list[tuple]:
    """For each mixture the mean PSNR as it came, by hand in two passes, and by estimate; and the share of the gain."""
    rows = []
    for name, (first, second) in MIXTURES.items():
        damaged = [mixed(first, second, gt, seed) for seed, gt in enumerate(clean)]
        ways = [damaged, [scorer.given(lq, first[2], second[2]) for lq in damaged]]
        ways.append([scorer.given(lq, "auto") for lq in damaged])
        before, by_hand, auto = (
            fmean(quality(image, gt)[0] for image, gt in zip(images, clean, strict=True)) for images in ways
        )
        rows.append((name, before, by_hand, auto, (auto - before) / (by_hand - before)))
    return rows


def set_row(name: str, scores: Sequence[Score]) -> list[str]:
    """The line of a set: means, and the worst gains."""
    given = [score.psnr_given - score.psnr_input for score in scores]
    auto = [score.psnr_auto - score.psnr_input for score in scores]
    return [
        name,
        str(len(scores)),
        f"{fmean(s.psnr_input for s in scores):.2f}",
        f"{fmean(s.psnr_usual for s in scores):.2f}",
        f"{fmean(s.psnr_given for s in scores):.2f} / {fmean(s.ssim_given for s in scores):.3f}",
        f"{fmean(s.psnr_auto for s in scores):.2f} / {fmean(s.ssim_auto for s in scores):.3f}",
        f"{fmean(given):+.2f} (worst {min(given):+.2f})",
        f"{fmean(auto):+.2f} (worst {min(auto):+.2f})",
    ]


HEADER = ["set", "pictures", "input", "usual tool", "task given", "auto", "gain given", "gain auto"]


def average_row(name: str, sets: dict[str, list[Score]]) -> list[str]:
    """The mean of sets, each counting alike."""

    def mean(column: str) -> float:
        return fmean(fmean(getattr(score, column) for score in scores) for scores in sets.values())

    columns = ("psnr_input", "psnr_usual", "psnr_given", "ssim_given", "psnr_auto", "ssim_auto")
    before, usual, given, ssim_given, auto, ssim_auto = map(mean, columns)
    qualities = [f"{given:.2f} / {ssim_given:.3f}", f"{auto:.2f} / {ssim_auto:.3f}"]
    gains = [f"{given - before:+.2f}", f"{auto - before:+.2f}"]
    return [name, str(sum(map(len, sets.values()))), f"{before:.2f}", f"{usual:.2f}", *qualities, *gains]


def confusion(real: dict[str, list[Score]], clean: Sequence[str]) -> str:
    """What the estimator took the pictures of each task for, most frequent first."""
    rows = []
    for name, estimates in [*((task, [s.estimated for s in scores]) for task, scores in real.items()), (CLEAN, clean)]:
        counts = sorted({(-estimates.count(guess), guess) for guess in estimates})
        rows.append((name, ", ".join(f"{guess} {-count}" for count, guess in counts)))
    return markdown(["pictures of", "taken for"], rows)


def save_worst(out: Path, sets: dict[str, list[Scored]], count: int = 6) -> None:
    """The pictures that gain least by estimate, and the first of each set: as they came, given, auto and clean."""
    by_gain = sorted((item for items in sets.values() for item in items), key=lambda item: item.gain)
    for name, chosen in (("worst", by_gain[:count]), ("tasks", [items[0] for items in sets.values()])):
        save_panel(out / f"weights_{name}.jpg", [_panel_row(item) for item in chosen], width=256)


def _panel_row(item: Scored) -> PanelRow:
    score = item.score
    labels = [
        f"{score.set}: {score.psnr_input:.2f} dB",
        f"given {score.psnr_given:.2f}",
        f"auto ({score.estimated}) {score.psnr_auto:.2f}",
        "clean",
    ]
    return PanelRow(item.pictures, labels)


def main() -> int:
    """Scores, writes and prints; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="checkpoint or model file")
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--data", type=Path, default=os.environ.get("DTIR_DATA", REPO.parent / "shared" / "data"))
    parser.add_argument("--limit", type=positive_int, default=100, help="pictures of each set at most")
    parser.add_argument("--clean", type=natural, default=20, help="clean pictures at most")
    parser.add_argument("--mixtures", type=natural, default=8, help="pictures of each mixture at most")
    args = parser.parse_args()
    os.environ["DTIR_DATA"] = str(args.data.resolve())
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", 1)))
    args.out.mkdir(parents=True, exist_ok=True)
    text, results = scoreboard(Scorer(args.model), args)
    for name, content in (("weights.md", text), ("scores.json", json.dumps(results, indent=1))):
        with atomic_write(args.out / name, "w", encoding="utf-8") as file:
            file.write(content)
    print(text)
    return 0


def scoreboard(scorer: Scorer, args: argparse.Namespace) -> tuple[str, dict]:
    """The text, and all numbers in it."""
    real = {task: read_pairs(args.data / "real10" / task, task, args.limit) for task in TASKS}
    others = {
        "Rain100L": read_pairs(args.data / "generalization" / "Rain100L", "rainy", args.limit),
        "REVIDE": read_pairs(args.data / "generalization" / "REVIDE", "hazy", args.limit),
        **held_out(args.limit),
    }
    sets = scorer.score_sets({**real, **others})
    save_worst(args.out, sets)
    scores = {name: [item.score for item in items] for name, items in sets.items()}
    clean = [pair.gt for pairs in real.values() for pair in pairs]
    kept = [quality(scorer.given(gt, "auto"), gt)[0] for gt in _spread(clean, args.clean)]
    guesses = [scorer.inferencer.estimate_task(gt) for gt in _spread(clean, args.clean)]
    mixtures = mixture_rows(scorer, _spread(clean, args.mixtures))
    in_tasks, in_others = ({name: scores[name] for name in group if name in scores} for group in (real, others))
    text = _text(in_tasks, in_others, kept, guesses, mixtures)
    results = {"scores": [asdict(s) for items in scores.values() for s in items], "clean": kept, "mixtures": mixtures}
    return text, results


def _spread(items: list, count: int) -> list:
    return [items[k] for k in np.linspace(0, len(items) - 1, min(count, len(items))).astype(int)]


def _text(real: dict, others: dict, kept: list[float], guesses: list[str], mixtures: list[tuple]) -> str:
    nine = {name: scores for name, scores in real.items() if name != "snowy"}
    tasks = [set_row(name, scores) for name, scores in real.items()]
    tasks += [average_row("mean of ten", real), average_row("mean without snow", nine)]
    mixture_lines = [(n, f"{b:.2f}", f"{h:.2f}", f"{a:.2f}", f"{100 * share:.0f} %") for n, b, h, a, share in mixtures]
    untouched = sum(value == MOST for value in kept)
    return "\n\n".join(
        [
            "PSNR (dB) and SSIM of RGB in 8 bits; gains over the input as it came.",
            "## The ten tasks (real10)",
            markdown(HEADER, tasks),
            "## Mild, other, and real: pictures that a restorer may do harm to",
            markdown(HEADER, [set_row(name, scores) for name, scores in others.items()]),
            "## Clean pictures through auto",
            f"{len(kept)} clean pictures: mean {fmean(kept):.1f} dB (those left bit for bit, {untouched}, count as "
            f"{MOST:.0f}), worst {min(kept):.1f} dB.",
            "## Two damages on a clean picture",
            markdown(["mixture", "input", "first, then second, by hand", "auto", "share of the gain"], mixture_lines),
            "## What the estimator takes pictures for",
            confusion(real, guesses) + "\n",
        ]
    )


if __name__ == "__main__":
    sys.exit(exit_code(main))
