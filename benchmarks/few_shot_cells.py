"""What `benchmarks.few_shot` compares: kinds of damage, ways to learn them, and which of both are paired."""

import argparse
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

from dtir.datasets import PairedDataset

OLD = ("motion-blurry", "jpeg-compressed", "noisy", "rainy", "snowy", "inpainting")
# Tried by each way: parts of the new task's own bear, and want, higher ones than the whole network.
RATES = {"full": (2e-3, 8e-3), "adapters": (8e-3, 3.2e-2)}
# The rate of each way of learning is chosen on these kinds, at seed 0 and this many pairs.
CHOSEN_ON, CHOSEN_AT = ("low-light",), 30
SEEDS = 3
# How many networks of each kind learn; each from all choices of the pairs.
NETWORKS = 3
# At so many pairs, and by these ways; all else is learned by the first network alone.
NETWORKS_AT = CHOSEN_AT
# Pairs of kinds that have fewer than that.
FEWER = {"shadowed-docs": 10}


@dataclass(frozen=True)
class Kind:
    """A kind of damage to learn.

    Attributes:
        name: In tables.
        sources: Folders of pairs to train on, in train_pairs/.
        tested: Folders of pairs to test on.
        is_tested: Whether a pair of a name is for testing, in folders that are in both.
        most: Most test pairs of each folder.
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
        settings: Settings of the adaptation, over `COMMON`.
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
# Old tasks are held by 5 % of made pairs as well, or by importance and tolerance alone.
KEPT = {"method": "full"}
KEPT_ALONE = {**KEPT, "replay_share": 0.0}
FREE_REPLAYED = {**FREE, "replay_share": 0.05}
ADAPTERS = {"method": "adapters"}
SCRATCH, RIVAL, PROJECT = "from scratch", "told: fine-tuned", "method: adapters"
UNPRETRAINED, FREELY, WHOLE = "told: adapters", "method: fine-tuned", "method: full"
BY_NETWORK = (RIVAL, PROJECT)
# At other numbers of pairs than `CHOSEN_AT`.
BY_NUMBER = (SCRATCH, RIVAL, UNPRETRAINED, FREELY, PROJECT)
WAYS = (
    Way(SCRATCH, "untrained", FREE),
    Way("pre-trained alone: fine-tuned", "pre-trained", FREE),
    Way(RIVAL, "told", FREE),
    Way(UNPRETRAINED, "told", ADAPTERS),
    Way(FREELY, "method", FREE),
    Way(PROJECT, "method", ADAPTERS),
    Way(WHOLE, "method", KEPT),
    Way("told: full", "told", KEPT, WHOLE),
    Way("method: full, no replay", "method", KEPT_ALONE, WHOLE),
    Way("told: full, no replay", "told", KEPT_ALONE, WHOLE),
    Way("method: full, 5 % replay", "method", KEPT, WHOLE, replay=True),
    Way("told: full, 5 % replay", "told", KEPT, WHOLE, replay=True),
    Way("method: fine-tuned, 5 % replay", "method", FREE_REPLAYED, FREELY, replay=True),
    Way("told: fine-tuned, 5 % replay", "told", FREE_REPLAYED, RIVAL, replay=True),
    *(
        Way(
            f"method: importance {weight:g} alone",
            "method",
            {**FREE, "importance": weight},
            FREELY,
            swept=True,
        )
        for weight in (1.0, 10.0, 100.0, 1000.0)
    ),
)


@dataclass(frozen=True)
class Cell:
    """What is learned from what: one file of results.

    Attributes:
        kind: Kind of the damage.
        pairs: N.
        seed: Seed of the choice of the pairs, of the split, of the training, and of an untrained network.
        network: Seed of the trained network that learns.
    """

    kind: Kind
    pairs: int
    seed: int
    network: int = 0

    @property
    def file(self) -> str:
        """The name of the file of its results."""
        other = f"_network{self.network}" if self.network else ""
        return f"{self.kind.name.replace(' ', '_')}_{self.pairs}_seed{self.seed}{other}.json"


def all_cells(args: argparse.Namespace) -> Iterator[Cell]:
    """For each number of pairs, network by network and seed by seed."""
    for number in args.pairs:
        for network in range(args.networks if number == NETWORKS_AT else 1):
            for seed in range(args.seeds):
                for kind in KINDS:
                    pairs = FEWER.get(kind.name, number) if number == CHOSEN_AT else number
                    if len(to_train(kind)) >= pairs and kind.name in (args.kinds or [kind.name]):
                        yield Cell(kind, pairs, seed, network)


def pairs_in(folder: str) -> list[dict]:
    """The records of a folder with LQ/ and GT/, under the data's."""
    return PairedDataset("any", folder).records


def to_train(kind: Kind) -> list[dict]:
    """The records of the pairs that a kind may be learned from."""
    records = [record for source in kind.sources for record in pairs_in(f"train_pairs/{source}")]
    return [record for record in records if not kind.is_tested(record["name"])]


def to_test(kind: Kind) -> list[dict]:
    """The records of the pairs that a kind is tested on."""
    shared = {f"train_pairs/{source}" for source in kind.sources}
    found = []
    for folder in kind.tested:
        records = [r for r in pairs_in(folder) if folder not in shared or kind.is_tested(r["name"])]
        found += records[: kind.most]
    return found


def read_results(path: Path) -> dict:
    """What was measured, by way and learning rate; empty before anything was."""
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def chosen_rate(way: Way, results: Path) -> float | None:
    """The one of the learning rates that were tried with the best mean of the held-out pairs; None before any was."""
    cells = [Cell(kind, CHOSEN_AT, 0) for kind in KINDS if kind.name in CHOSEN_ON]
    found = [read_results(results / cell.file).get(way.rate_of or way.name, {}) for cell in cells]
    tried = [rate for rate in way.rates if all(f"{rate:g}" in values for values in found)]
    return max(tried, key=lambda rate: fmean(values[f"{rate:g}"]["held_out"] for values in found), default=None)


def ways_of(cell: Cell) -> list[Way]:
    """Those that the cell's kind is learned by."""
    if cell.network:
        return [way for way in WAYS if way.name in BY_NETWORK]
    if cell.pairs != FEWER.get(cell.kind.name, CHOSEN_AT):
        return [way for way in WAYS if way.name in BY_NUMBER]
    return [way for way in WAYS if cell.kind.name in CHOSEN_ON or not way.swept]
