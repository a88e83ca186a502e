"""New kinds of damage learned from few real pairs: from scratch, by fine-tuning, and by `dtir adapt`, side by side.

    DTIR_DATA=DATA python -m benchmarks.few_shot run
    python -m benchmarks.few_shot table

Networks of six kinds of damage (configs/_base_/lab/few_shot.py), trained with and without the generative pre-training
for equally many iterations in all, learn five further kinds from N pairs. All ways of learning have the same pairs, the
same iterations and the same search for the learning rate, by pairs that are held out from training; the test pictures
are others. What the old tasks lose is measured on pictures of theirs. Killed at any moment, the command goes on when it
is run again.
"""

import argparse
import functools
import json
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean, stdev

import cv2
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope

from benchmarks.lab import REPO, markdown, picture, train
from benchmarks.method import FULL, TOLD, Run, centre, prepare, pretraining
from dtir.apis import RestorationInferencer
from dtir.apis.adaptation.files import save_adapted
from dtir.apis.adaptation.teaching import Adaptation, AdaptationSettings, adapt
from dtir.core.atomic import atomic_save, atomic_write
from dtir.core.checkpoint import load_checkpoint
from dtir.datasets import PairedDataset, SyntheticDataset
from dtir.evaluation.metrics.functional import psnr
from dtir.evaluation.statistics import difference_interval
from dtir.imaging.files import read_rgb
from dtir.registry import RESTORERS, SCOPE

SETTINGS = "configs/_base_/lab/few_shot.py"
OLD = ("motion-blurry", "jpeg-compressed", "noisy", "rainy", "snowy", "inpainting")
# Side of the centre of the pictures that is measured.
MEASURED = 160
# Pairs of each old task that are replayed.
REPLAYED = 6
COMMON = {"iters": 160, "interval": 80, "batch_size": 4, "patch": 48}
# Tried by each way: parts of the new task's own bear, and want, higher ones than the whole network.
RATES = {"full": (2e-3, 8e-3), "adapters": (8e-3, 3.2e-2)}
# The rate of each way of learning is chosen on these kinds, at seed 0 and this many pairs.
CHOSEN_ON, CHOSEN_AT = ("low-light",), 30
SEEDS = 3
# Pairs of kinds that have fewer than that.
FEWER = {"shadowed-docs": 10}


@dataclass(frozen=True)
class Kind:
    """A kind of damage to learn.

    Attributes:
        name: In tables.
        sources: Folders of pairs to train on, in train_pairs/.
        tested: Folders of pairs to test on.
        is_tested: Of a pair's name, whether it is for testing, in folders that are in both.
        most: Of the test pairs of each folder.
    """

    name: str
    sources: tuple[str, ...]
    tested: tuple[str, ...]
    is_tested: Callable[[str], bool] = lambda name: False
    most: int = 10


def _starts(*beginnings: str) -> Callable[[str], bool]:
    return lambda name: name.startswith(beginnings)


KINDS = (
    Kind("low-light", ("low-light",), ("real10/low-light", "train_pairs/low-light2")),
    # The further levels of haze are of scenes that are trained on anyway.
    Kind("hazy", ("hazy", "hazy2"), ("real10/hazy",)),
    Kind(
        "raindrop",
        ("raindrop-robotcar",),
        ("train_pairs/raindrop-robotcar",),
        _starts("robotcar_13600", "robotcar_4800", "robotcar_6400"),
    ),
    # Other cameras than those of the pairs to train on from the same set.
    Kind(
        "real noise",
        ("noisy-polyu", "noisy-nam", "noisy-cc"),
        ("train_pairs/noisy-polyu",),
        _starts("polyu_Nikon", "polyu_Sony"),
        12,
    ),
    Kind(
        "shadowed-docs",
        ("shadowed-docs",),
        ("train_pairs/shadowed-docs",),
        _starts("wf_14", "wf_16", "wf_17", "wf_18", "wf_20"),
    ),
)


@dataclass(frozen=True)
class Way:
    """A way to learn.

    Attributes:
        name: In tables.
        base: The network that it starts from: "untrained", "pre-trained", "told" or "method".
        settings: Of the adaptation, over `COMMON`.
        rate_of: The way whose learning rate it has; None searches its own.
        replay: Whether pairs of the old tasks are replayed.
        swept: Whether it is one of a row of settings, and learns the kinds of `CHOSEN_ON` alone.
    """

    name: str
    base: str
    settings: dict = field(default_factory=dict)
    rate_of: str | None = None
    replay: bool = False
    swept: bool = False

    @property
    def rates(self) -> tuple[float, ...]:
        """The learning rates that it tries."""
        return RATES[self.settings["method"]]


FREE = {"method": "full", "importance": 0.0, "replay_share": 0.0, "tolerance": math.inf}
HELD = {**FREE, "importance": 10.0}
KEPT = {"method": "full"}
ADAPTERS = {"method": "adapters"}
SCRATCH, RIVAL, PROJECT = "from scratch", "told: fine-tuned", "method: adapters"
WAYS = (
    Way(SCRATCH, "untrained", FREE),
    Way("pre-trained alone: fine-tuned", "pre-trained", FREE),
    Way(RIVAL, "told", FREE),
    Way("told: adapters", "told", ADAPTERS),
    Way("method: fine-tuned", "method", FREE),
    Way(PROJECT, "method", ADAPTERS),
    Way("method: full", "method", KEPT),
    Way("told: full", "told", KEPT, "method: full"),
    Way("told: fine-tuned, 5 % replay", "told", {**FREE, "replay_share": 0.05}, RIVAL, replay=True),
    Way("method: full, 5 % replay", "method", KEPT, "method: full", replay=True),
    *(
        Way(
            f"method: importance {weight:g} alone",
            "method",
            {**FREE, "importance": weight},
            "method: fine-tuned",
            swept=True,
        )
        for weight in (1.0, 10.0, 100.0, 1000.0)
    ),
)


@dataclass(frozen=True)
class Cell:
    """What is learned from what: one file of results.

    Attributes:
        kind: Of the damage.
        pairs: N.
        seed: Of the networks, of the choice of the pairs, and of the training.
    """

    kind: Kind
    pairs: int
    seed: int

    @property
    def file(self) -> str:
        """Of its results."""
        return f"{self.kind.name.replace(' ', '_')}_{self.pairs}_seed{self.seed}.json"


def all_cells(args: argparse.Namespace) -> Iterator[Cell]:
    """For each number of pairs, seed by seed."""
    for number in args.pairs:
        for seed in range(args.seeds):
            for kind in KINDS:
                pairs = FEWER.get(kind.name, number) if number == CHOSEN_AT else number
                if len(_to_train(kind)) >= pairs and kind.name in (args.kinds or [kind.name]):
                    yield Cell(kind, pairs, seed)


def _records(folder: str) -> list[dict]:
    return PairedDataset("any", folder).records


def _to_train(kind: Kind) -> list[dict]:
    records = [record for source in kind.sources for record in _records(f"train_pairs/{source}")]
    return [record for record in records if not kind.is_tested(record["name"])]


def _to_test(kind: Kind) -> list[dict]:
    shared = {f"train_pairs/{source}" for source in kind.sources}
    found = []
    for folder in kind.tested:
        records = [r for r in _records(folder) if folder not in shared or kind.is_tested(r["name"])]
        found += records[: kind.most]
    return found


def pairs_of(cell: Cell, out: Path) -> Path:
    """A folder with the cell's pairs, chosen by its seed."""
    folder = out / "pairs" / Path(cell.file).stem
    records = _to_train(cell.kind)
    order = np.random.default_rng((cell.seed, 5)).permutation(len(records))
    for index in order[: cell.pairs].tolist():
        for key, name in (("lq_path", "LQ"), ("gt_path", "GT")):
            source = Path(records[index][key])
            target = folder / name / source.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():
                shutil.copyfile(source, target)
    return folder


@functools.cache
def replay_of(seed: int, out: Path) -> Path:
    """A folder with a few pairs of each old task, of those that the networks were trained on."""
    folder, lab = out / "replay" / str(seed), Config.fromfile(REPO / SETTINGS)
    for task in OLD:
        options = {key: value for key, value in lab.train_sets[task].items() if key != "type"}
        kind = {"SyntheticDataset": SyntheticDataset, "PairedDataset": PairedDataset}[lab.train_sets[task].type]
        if kind is SyntheticDataset:
            options["eval_crop"] = MEASURED
        dataset = kind(**options, seed=seed)
        chosen = np.random.default_rng((seed, 6)).choice(len(dataset), REPLAYED, replace=False)
        for number, index in enumerate(chosen.tolist()):
            item = dataset[index]
            for name, tensor in (("LQ", item["inputs"]), ("GT", item["data_samples"]["gt"])):
                target = folder / task / name / f"{number}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(target), tensor.permute(1, 2, 0).numpy()[..., ::-1])
    return folder


@functools.cache
def base_of(name: str, seed: int, out: Path, threads: int) -> Path:
    """The checkpoint that a way starts from; trained unless that is done."""
    folder = out / "bases"
    told = Run("told, equal total steps", TOLD, seed, long=True, settings=SETTINGS, tasks=OLD)
    full = Run("full", FULL, seed, settings=SETTINGS, tasks=OLD)
    generative = replace(pretraining(seed, SETTINGS), tasks=OLD)
    if name == "told":
        return train(prepare(told, folder), folder / told.folder, threads)
    trained = train(prepare(generative, folder), folder / generative.folder, threads) if name != "untrained" else None
    if name == "method":
        return train(prepare(full, folder), folder / full.folder, threads)
    return _labelled(prepare(told, folder).model.to_dict(), trained, folder / f"{name}_seed{seed}.pth", seed)


def _labelled(config: dict, trained: Path | None, path: Path, seed: int) -> Path:
    """The told network before any restoration, untrained or with the weights of the generative pre-training."""
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope(SCOPE):
        state = RESTORERS.build(config).state_dict()
    if trained is not None:
        weights = load_checkpoint(trained)["state_dict"]
        state.update({key: weights[key] for key in state if key.startswith("network.")})
    atomic_save({"meta": {"model_cfg": config}, "state_dict": state}, path)
    return path


def learn(cell: Cell, way: Way, rate: float, out: Path, threads: int) -> Adaptation:
    """Carries out one adaptation."""
    replay = str(replay_of(cell.seed, out)) if way.replay else None
    settings = AdaptationSettings(**{**COMMON, **way.settings}, lr=rate, replay=replay, seed=cell.seed)
    base = base_of(way.base, cell.seed, out, threads)
    return adapt(base, pairs_of(cell, out).resolve(), cell.kind.name, settings, "cpu")


def old_values(inferencer: RestorationInferencer) -> dict[str, list[float]]:
    """PSNR of the old tasks' test pictures."""
    return {task: _values(inferencer, _records(f"real10/{task}"), task)["PSNR"] for task in OLD}


def _values(inferencer: RestorationInferencer, records: list[dict], task: str) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {"PSNR": [], "input": []}
    for record in records:
        lq, gt = (centre(read_rgb(record[key]), MEASURED) for key in ("lq_path", "gt_path"))
        restored = picture(inferencer.restore_array(lq, task))
        values["PSNR"].append(round(psnr(restored, picture(gt)).item(), 4))
        values["input"].append(round(psnr(picture(lq), picture(gt)).item(), 4))
    return values


def carry_out(cell: Cell, way: Way, rate: float, out: Path, threads: int) -> dict:
    """Learns and measures, unless that is done; returns what was measured."""
    path = out / "results" / cell.file
    results = _read(path)
    key = f"{rate:g}"
    if key not in results.setdefault(way.name, {}):
        result = learn(cell, way, rate, out, threads)
        scratch = out / f"learned_{os.getpid()}.pth"
        save_adapted(result, scratch)
        inferencer = RestorationInferencer(str(scratch), device="cpu")
        measured = {
            "held_out": round(fmean(result.after), 4),
            "iters": result.history[-1][0],
            "start": result.start,
            **_values(inferencer, _to_test(cell.kind), cell.kind.name),
        }
        if way.base in ("told", "method"):
            measured["old"] = old_values(inferencer)
            measured["lost"] = {name: round(value, 4) for name, value in result.lost.items()}
        scratch.unlink()
        results[way.name][key] = measured
        _write(path, results)
    return results[way.name][key]


def _read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _write(path: Path, results: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "w", encoding="utf-8") as file:
        json.dump(results, file)


def measure_base(name: str, seed: int, out: Path, threads: int) -> None:
    """What the old tasks have before anything is learned."""
    path = out / "results" / f"base_{name}_seed{seed}.json"
    if not path.is_file():
        _write(path, old_values(RestorationInferencer(str(base_of(name, seed, out, threads)), device="cpu")))


def chosen_rate(way: Way, results: Path) -> float | None:
    """Of the learning rates that were tried, the one with the best mean of the held-out pairs; None before any was."""
    cells = [Cell(kind, CHOSEN_AT, 0) for kind in KINDS if kind.name in CHOSEN_ON]
    found = [_read(results / cell.file).get(way.rate_of or way.name, {}) for cell in cells]
    tried = [rate for rate in way.rates if all(f"{rate:g}" in values for values in found)]
    return max(tried, key=lambda rate: fmean(values[f"{rate:g}"]["held_out"] for values in found), default=None)


def ways_of(cell: Cell) -> list[Way]:
    """Those that the cell's kind is learned by."""
    swept = cell.kind.name in CHOSEN_ON and cell.pairs == CHOSEN_AT
    return [way for way in WAYS if swept or not way.swept]


def run_all(args: argparse.Namespace) -> None:
    """Searches the learning rates, then learns what is left."""
    out = Path(args.out)
    torch.set_num_threads(args.threads)
    for way in WAYS:
        for kind in KINDS:
            if kind.name in CHOSEN_ON and way.rate_of is None and kind.name in (args.kinds or CHOSEN_ON):
                for rate in way.rates:
                    carry_out(Cell(kind, CHOSEN_AT, 0), way, rate, out, args.threads)
        print(f"{way.name}: learning rate {chosen_rate(way, out / 'results')}", flush=True)
    for cell in all_cells(args):
        for base in ("told", "method"):
            measure_base(base, cell.seed, out, args.threads)
        for way in ways_of(cell):
            carry_out(cell, way, chosen_rate(way, out / "results"), out, args.threads)
        print(f"{cell.kind.name}, {cell.pairs} pairs, seed {cell.seed}: done", flush=True)


Found = dict[str, dict[str, dict[int, dict]]]


def read_cells(results: Path, pairs: dict[str, int]) -> Found:
    """What was measured, by way, kind and seed, at the way's learning rate.

    Args:
        results: Folder of the files.
        pairs: N by kind.
    """
    found: Found = {}
    for way in WAYS:
        chosen = chosen_rate(way, results)
        if chosen is None:
            continue
        rate = f"{chosen:g}"
        for kind in (kind for kind in KINDS if kind.name in pairs):
            for seed in range(SEEDS):
                measured = _read(results / Cell(kind, pairs[kind.name], seed).file).get(way.name, {})
                if rate in measured:
                    found.setdefault(way.name, {}).setdefault(kind.name, {})[seed] = measured[rate]
    return found


def difference(found: Found, first: str, second: str, kinds: Iterable[str]) -> str:
    """How much one way is above another in dB, with a 95 % interval over pictures, at what both have in common."""
    values: tuple[dict, dict] = ({}, {})
    for kind in kinds:
        rows = [found.get(name, {}).get(kind, {}) for name in (first, second)]
        seeds = sorted(rows[0].keys() & rows[1].keys())
        if not seeds:
            return "-"
        for row, part in zip(rows, values, strict=True):
            part[kind] = [fmean(column) for column in zip(*(row[seed]["PSNR"] for seed in seeds), strict=True)]
    low, high = difference_interval(*values)
    mean = fmean(fmean(values[0][kind]) - fmean(values[1][kind]) for kind in values[0])
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"


def new_table(found: Found, kinds: list[str]) -> str:
    """PSNR of the new kinds, a way a row, and the average beside two rivals."""
    rows = []
    inputs = [next(iter(found[SCRATCH][kind].values()))["input"] for kind in kinds]
    rows.append(["input", "", *(f"{fmean(values):.2f}" for values in inputs), "", "", ""])
    for name, by_kind in found.items():
        cells = [_seeds([fmean(r["PSNR"]) for r in by_kind.get(kind, {}).values()]) for kind in kinds]
        whole = all(kind in by_kind for kind in kinds)
        mean = (
            f"{fmean(fmean(fmean(r['PSNR']) for r in by_kind[kind].values()) for kind in kinds):.2f}" if whole else ""
        )
        beside = [difference(found, name, other, kinds) if other != name else "-" for other in (SCRATCH, RIVAL)]
        rows.append([name, _counts(by_kind, kinds), *cells, mean, *beside])
    return markdown(["way", "seeds", *kinds, "average", f"against {SCRATCH}", f"against {RIVAL}"], rows)


def _counts(by_kind: dict, kinds: list[str]) -> str:
    counts = sorted({len(by_kind.get(kind, {})) for kind in kinds})
    return "-".join(map(str, [counts[0], counts[-1]] if len(counts) > 1 else counts))


def _seeds(values: list[float]) -> str:
    spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{fmean(values):.2f}{spread}" if values else "-"


def claims_table(found: Found, kinds: list[str]) -> str:
    """The differences that are asked about, kind by kind."""
    asked = [(PROJECT, SCRATCH), (PROJECT, RIVAL), (PROJECT, "told: adapters")]
    asked += [("method: full", SCRATCH), ("method: full", RIVAL), ("method: full", "told: full")]
    asked += [("pre-trained alone: fine-tuned", SCRATCH), ("method: fine-tuned", RIVAL)]
    rows = [[f"{a} - {b}", *(difference(found, a, b, [kind]) for kind in kinds)] for a, b in asked]
    return markdown(["difference", *kinds], rows)


def changes(found: Found, name: str, results: Path) -> dict[str, list[float]]:
    """By old task, the change of its mean PSNR in dB by each adaptation."""
    base = next(way.base for way in WAYS if way.name == name)
    moved: dict[str, list[float]] = {task: [] for task in OLD}
    for by_seed in found.get(name, {}).values():
        for seed, measured in by_seed.items():
            before = _read(results / f"base_{base}_seed{seed}.json")
            for task, values in measured.get("old", {}).items():
                moved[task].append(fmean(values) - fmean(before[task]))
    return moved


def forgetting_table(found: Found, kinds: list[str], results: Path) -> str:
    """What the old tasks lose, beside what the new kinds gain over the input."""
    rows = []
    for way in WAYS:
        moved = changes(found, way.name, results)
        if not any(moved.values()):
            continue
        gains = [
            fmean(fmean(np.subtract(r["PSNR"], r["input"])) for r in found[way.name][kind].values())
            for kind in kinds
            if kind in found[way.name]
        ]
        means = {task: fmean(values) for task, values in moved.items()}
        worst = min(min(values) for values in moved.values())
        row = [way.name, f"{fmean(gains):+.2f}", *(f"{means[task]:+.2f}" for task in OLD)]
        rows.append([*row, f"{fmean(means.values()):+.2f}", f"{worst:+.2f}"])
    return markdown(["way", "new kinds' gain", *OLD, "mean", "worst"], rows)


def rates_table(results: Path) -> str:
    """The learning rates that were tried and chosen."""
    cells = [Cell(kind, CHOSEN_AT, 0) for kind in KINDS if kind.name in CHOSEN_ON]
    found = [_read(results / cell.file) for cell in cells]
    rows = []
    for way in (way for way in WAYS if way.rate_of is None and chosen_rate(way, results)):
        tried = [f"{rate:g}" for rate in way.rates if all(f"{rate:g}" in values.get(way.name, {}) for values in found)]
        rows.append([way.name, ", ".join(tried), f"{chosen_rate(way, results):g}"])
    return markdown(["way", "learning rates tried", "chosen"], rows)


def print_tables(results: Path) -> None:
    """The comparison in Markdown."""
    names = [kind.name for kind in KINDS]
    tables = []
    for number in (CHOSEN_AT, 10, 100):
        fewer = FEWER if number == CHOSEN_AT else {}
        found = read_cells(results, {name: fewer.get(name, number) for name in names})
        # Kinds with fewer pairs are in the main comparison with what they have.
        kinds = [n for n in names if n in found.get(SCRATCH, {}) and (number == CHOSEN_AT or n not in FEWER)]
        if kinds:
            tables += [f"{number} pairs", new_table(found, kinds)]
        if kinds and number == CHOSEN_AT:
            tables += [claims_table(found, kinds), forgetting_table(found, kinds, results)]
    print(*tables, rates_table(results), sep="\n\n")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("run", "table"))
    parser.add_argument("--out", default="work_dirs/few_shot", help="of a run: trainings, and results/")
    parser.add_argument("--results", default="benchmarks/results/few_shot", help="of the tables")
    parser.add_argument("--pairs", type=int, nargs="+", default=[30, 10, 100], metavar="N")
    parser.add_argument("--kinds", nargs="+", metavar="NAME", help="these alone, in a run")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.command == "run":
        run_all(args)
    else:
        print_tables(Path(args.results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
