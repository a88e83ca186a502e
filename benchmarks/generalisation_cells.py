"""What `benchmarks.generalisation` trains, and what it tests that on."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mmengine.config import Config

from benchmarks.lab import REPO
from benchmarks.method_runs import FULL, PLAIN, TOLD, Run, prepare
from dtir.datasets.transforms.degrade import StepOfSeverity
from dtir.tasks import TASKS

# Of one task, 400 iterations in all; and of ten.
ONE_SETTINGS, TEN_SETTINGS = "configs/_base_/lab/generalisation.py", "configs/_base_/lab/method_short.py"
SINGLE = "dtir/dtir_unet_deraining"
SEEDS = 3
LAST_STEP = 50
# Folders of pairs by the name of the test set, and how many pictures are taken of each.
TEST_SETS = {
    **{task: (f"real10/{task}",) for task in TASKS},
    "Rain100L": ("generalization/Rain100L",),
    "REVIDE": ("generalization/REVIDE",),
    "haze outdoors": ("train_pairs/hazy-outdoor",),
    "FiveK": ("train_pairs/low-light-fivek",),
    "real noise": ("train_pairs/noisy-polyu", "train_pairs/noisy-nam", "train_pairs/noisy-cc"),
}
MOST = 8
OTHER_TASKS = {"Rain100L": "rainy", "REVIDE": "hazy", "haze outdoors": "hazy", "FiveK": "low-light"}
OTHER_TASKS["real noise"] = "noisy"
# GTs of the test sets of real10, each restored as if it had the damage of its set.
CLEAN, MOST_CLEAN = "clean", 2
# At 0.5 a damage is as it was recorded, or typical; pairs are faded no further than to that.
RECORDED = 0.5
WIDE, WIDE_PAIRS = (0.05, 1.0), (0.05, RECORDED)
# Of the samples, where severities are wide.
CLEAN_SHARE = 0.1
# Where pictures are few: 14 to 22 pairs, 18 clean photographs.
FEW_EVERY, FEW_CLEAN = 5, "clean/mcmaster"
# Of all tasks together, where they share the samples by weights.
WEIGHTS = 10_000
# Side of the squares that are hidden, on patches of 40 pixels.
SQUARE = 8


@dataclass(frozen=True)
class Source:
    """One damage to train on.

    Attributes:
        name: In tables.
        task: Its task.
        pairs: Folder of train_pairs/; None where it is made.
        own: The test set of the same distribution.
        others: Test sets of other ones.
        wide: Range of severities where they are wide.
    """

    name: str
    task: str
    pairs: str | None
    own: str
    others: tuple[str, ...]
    wide: tuple[float, float] = WIDE_PAIRS


SOURCES = (
    # Twice as bright streaks are those of heavier rain.
    Source("Rain100L", "rainy", "rainy-light", "Rain100L", ("rainy",), WIDE),
    Source("Rain100H", "rainy", "rainy", "rainy", ("Rain100L",)),
    Source("SOTS", "hazy", "hazy", "hazy", ("REVIDE", "haze outdoors")),
    Source("LOL", "low-light", "low-light", "low-light", ("FiveK",)),
    Source("sigma 50", "noisy", None, "noisy", ("real noise",)),
)
NAMES = {"rainy": "Rain100H", "hazy": "SOTS", "low-light": "LOL", "noisy": "sigma 50"}
TESTED = [(source, name) for source in SOURCES for name in (source.own, *source.others)]


@dataclass(frozen=True)
class Way:
    """A way to train.

    Attributes:
        name: In tables.
        config: Below configs/.
        modes: How task and step are told in use, see `benchmarks.generalisation.MODES`.
        long: As of `Run`: the iterations of a pre-training are spent on restoration.
        wide: Whether the damage has all severities, from none on.
        own_step: Whether each sample is trained at the step of its severity, and not at its task's.
        few: Whether pictures are few, see `few`.
        first: What the first half of the iterations learns: a key of `FIRST`; None restores from the beginning.
        classified: Whether that half also tells the damage.
        loss: In place of the settings'.
        shares: How tasks share the second half of the iterations, "equal" or "loss", by what each is restored with
            then; None does not part the iterations.
        local: Whether in use it pools over windows of 1.5 times the training patch (TLC, ECCV 2022).
    """

    name: str
    config: str
    modes: tuple[str, ...] = ("told",)
    long: bool = False
    wide: bool = False
    own_step: bool = False
    few: bool = False
    first: str | None = None
    classified: bool = False
    loss: dict | None = None
    shares: Literal["equal", "loss"] | None = None
    local: bool = False

    @property
    def pretrained(self) -> bool:
        """Whether it begins with the generative pre-training."""
        return self.config in (SINGLE, FULL)


# What a pre-training makes of a dataset.
FIRST = {"masked": {"type": "MaskedDataset", "square": SQUARE}, "reversed": {"type": "ReversedDataset"}}
# The loss of the released recipe.
L1_FFT = {"type": "WeightedLosses", "losses": [{"type": "L1Loss"}, {"type": "FFTLoss"}], "weights": [1.0, 0.1]}
BY_PICTURE = ("told", "step", "best")
ONE = (
    Way("plain", PLAIN, long=True),
    Way("method", SINGLE),
    Way("wide", PLAIN, long=True, wide=True),
    Way("wide, own step", TOLD, BY_PICTURE, long=True, wide=True, own_step=True),
    Way("wide, few pictures", PLAIN, long=True, wide=True, few=True),
    Way("wide, masked pre-training", PLAIN, wide=True, first="masked"),
    Way("wide, reversed pre-training", PLAIN, wide=True, first="reversed"),
    Way("wide, L1 + 0.1 FFT", PLAIN, long=True, wide=True, loss=L1_FFT),
    Way("wide, local pooling", PLAIN, long=True, wide=True, local=True),
)
TEN = (
    Way("told", TOLD, ("told", "blind")),
    Way("wide told", TOLD, ("told", "blind"), wide=True),
    Way("wide told, own step", TOLD, (*BY_PICTURE, "blind"), wide=True, own_step=True),
    Way("wide told in two halves", TOLD, wide=True, shares="equal"),
    Way("wide told, shares by loss", TOLD, wide=True, shares="loss"),
    Way("wide told, masked pre-training", TOLD, wide=True, first="masked"),
    Way("wide told, masked and classified pre-training", TOLD, wide=True, first="masked", classified=True),
    Way("told, equal total steps", TOLD, ("told", "blind"), long=True),
    Way("full", FULL, ("told", "blind")),
)


@dataclass(frozen=True)
class Cell:
    """One training with its tests: one file of results.

    Attributes:
        way: How it is trained.
        source: On what; None for ten tasks.
        seed: Seed of the training.
    """

    way: Way
    source: Source | None
    seed: int

    @property
    def settings(self) -> str:
        """File of the settings that are laid over the config."""
        return TEN_SETTINGS if self.source is None else ONE_SETTINGS

    @property
    def run(self) -> Run:
        """The training, as `benchmarks.method` knows it."""
        way, source = self.way, self.source
        if source is None:
            return Run(way.name, way.config, self.seed, long=way.long, settings=self.settings)
        tasks = () if source.pairs else (source.task,)
        return Run(f"{way.name} {source.name}", way.config, self.seed, source.pairs, way.long, self.settings, tasks)

    @property
    def place(self) -> str:
        """Folder of its trainings, which share a pre-training."""
        return "ten" if self.source is None else "one"

    @property
    def file(self) -> str:
        """The name of the file of its results."""
        return f"{self.place}_{self.run.folder}.json"

    def config(self, out: Path) -> Config:
        """What is trained."""
        config = prepare(self.run, out)
        if self.way.loss:
            config.model.losses = [self.way.loss]
        if not self.way.wide:
            return config
        data = config.train_dataloader.dataset
        if self.way.few:
            data.datasets = [few(made) for made in data.datasets]
        bands = self.bands(data.datasets)
        data.datasets = [self._mixture(made, band) for made, band in zip(data.datasets, bands, strict=True)]
        if "matched_t" in config.model:
            # The same whether or not samples have steps of their own, which alone is to differ.
            recorded = [StepOfSeverity(band).transform({"severity": RECORDED})["step"] for band in bands]
            config.model.matched_t = dict(zip(config.model.tasks, recorded, strict=True))
        return config

    def before(self, out: Path) -> Config:
        """What is learned before `config`, by L1 and for as many iterations, where something is; by a plain network, as
        one that is told the damage has nothing to tell."""
        config = replace(self, way=replace(self.way, config=PLAIN)).parted(out)
        config.model.losses = [{"type": "L1Loss"}]
        if self.way.classified:
            config.model.type = "ClassifyingRestorer"
        data = config.train_dataloader.dataset
        data.datasets = [{**FIRST[self.way.first], "task": made["task"], "dataset": made} for made in data.datasets]
        return config

    def parted(self, out: Path) -> Config:
        """`config`, for half of its iterations where ten tasks' are parted, which one task's settings do already."""
        return self.half(out) if self.source is None else self.config(out)

    def half(self, out: Path, errors: Sequence[float] | None = None) -> Config:
        """`config` for half of the iterations.

        Args:
            out: As of `config`.
            errors: By task, to which the shares of the samples are proportional; None has equal ones.
        """
        config = self.config(out)
        for stage in config.train_cfg.stages:
            stage.iters //= 2
            if errors is not None:
                stage.mixing = "proportional"
        for made, error in zip(config.train_dataloader.dataset.datasets, errors or (), strict=bool(errors)):
            made.weight = max(1, round(WEIGHTS * error / sum(errors)))
        return config

    def bands(self, datasets: list[dict]) -> list[list[tuple[float, int]]]:
        """Severities and steps of each dataset: an equal part of all steps, in the order of the tasks."""
        size = LAST_STEP // len(datasets)
        ends = [self.severities(made) for made in datasets]
        return [[(low, size * k + 1), (high, size * (k + 1))] for k, (low, high) in enumerate(ends)]

    def severities(self, made: dict) -> tuple[float, float]:
        """The range of a dataset's severities."""
        if self.source is not None:
            return self.source.wide
        return WIDE_PAIRS if made["type"] == "PairedDataset" else WIDE

    def _mixture(self, made: dict, band: list[tuple[float, int]]) -> dict:
        """A dataset of all severities, with a share of clean pictures."""
        none = {} if made["type"] == "PairedDataset" else {"degradation": "NoDamage"}
        own = self.way.own_step
        damaged = {**made, "severity": self.severities(made), **({"severity_steps": band} if own else {})}
        clean = {**made, **none, "severity": 0.0, **({"severity_steps": [(0.0, 0)]} if own else {})}
        shares = [1 - CLEAN_SHARE, CLEAN_SHARE]
        return {"type": "MixtureDataset", "task": made["task"], "datasets": [damaged, clean], "shares": shares}

    def sets(self) -> dict[str, tuple[tuple[str, ...], str]]:
        """The folders of the test sets, and the task that they are restored as, by name."""
        names = TEST_SETS if self.source is None else (self.source.own, *self.source.others)
        return {name: (TEST_SETS[name], OTHER_TASKS.get(name, name)) for name in names}


def few(made: dict) -> dict:
    """A dataset of less than two dozen pictures: one in five of the pairs, or a small folder of clean photographs."""
    if made["type"] == "PairedDataset":
        return {**made, "held_every": FEW_EVERY, "held": True}
    return {**made, "data_root": FEW_CLEAN}


def all_cells(seeds: int) -> Iterator[Cell]:
    """Seed by seed, one task before ten; what is dearest last."""
    for seed in range(seeds):
        yield from (Cell(way, source, seed) for source in SOURCES for way in ONE)
        yield from (Cell(way, None, seed) for way in TEN[:3])
    yield from (Cell(way, None, seed) for seed in range(seeds) for way in TEN[3:])


def test_crop() -> int:
    """Side of the middle of the test pictures that is measured, in pixels."""
    return Config.fromfile(REPO / TEN_SETTINGS).test_crop
