"""The model of the package, made from the data: all its trainings, one after another, and what lies between them.

    DTIR_DATA=DATA python -m benchmarks.universal OUT

OUT gets a folder per training (log, checkpoints, and a report where the config validates) and, at the end,
`universal.safetensors`. Run again after an interruption, it goes on from the last checkpoint; to do a training anew,
remove its folder and those of the trainings after it. It is the way that the weights of the package came about, with
their numbers of iterations (`docs/models.md`); on one core it takes days, so use a GPU. --share 0.001 goes the whole
way with a thousandth of each training, in another folder, which says within half an hour whether data and machine will
do. --list says what will be done.
"""

import argparse
import shlex
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from mmengine import Config

from benchmarks.lab import LOG, REPO, train
from dtir.cli import exit_code
from dtir.cli import main as run_dtir
from dtir.cli.launching import load_config
from dtir.cli.numbers import positive_int
from dtir.core.cores import usable_cores
from dtir.core.errors import ConfigError
from tools.misc import average_checkpoints, graft, grow, narrow, unpack

CONFIGS = REPO / "configs" / "models"
# Pixels of an iteration that trainings of different batches and patches are counted in.
UNIT = 8 * 96**2


@dataclass(frozen=True)
class Training:
    """A training of a config, by the first of its stages.

    Attributes:
        name: Of its folder.
        config: Name of a file of configs/models, without suffix.
        iters: Iterations of the stages; further stages of the config are left out.
        start: Name of the step whose weights it starts from; None starts anew.
        stage: What all its stages have that differs from the config.
        seed: Of its random numbers, where it is not the config's.
    """

    name: str
    config: str
    iters: tuple[int, ...]
    start: str | None = None
    stage: Mapping[str, object] = field(default_factory=dict)
    seed: int | None = None

    def needs(self) -> list[str]:
        """Names of the steps that come before it."""
        return [self.start] if self.start else []

    def lengths(self, share: float) -> list[int]:
        """Iterations of the stages, each at least 1, where a share of them is done."""
        return [max(1, round(share * iters)) for iters in self.iters]

    def settings(self, share: float) -> Config:
        """The config, with a share of the iterations."""
        config = load_config(CONFIGS / f"{self.config}.py")
        stages = config.train_cfg.stages[: len(self.iters)]
        for stage, iters in zip(stages, self.lengths(share), strict=True):
            stage.update(self.stage, iters=iters, warmup_iters=min(stage.get("warmup_iters", 0), iters - 1))
        config.train_cfg.stages = stages
        if self.seed is not None:
            config.randomness.seed = self.seed
        return config

    def make(self, folder: Path, made: Mapping[str, Path], share: float, threads: int) -> Path:
        """Trains, or goes on; returns the last checkpoint.

        Raises:
            ConfigError: See `benchmarks.lab.train`.
        """
        config = self.settings(share)
        workers = config.train_dataloader.num_workers
        config.train_dataloader.num_workers = min(workers, max(1, usable_cores() - 1))
        if self.start:
            config.load_from = str(made[self.start])
        return train(config, folder / self.name, threads)


@dataclass(frozen=True)
class Tool:
    """What happens to weights between two trainings.

    Attributes:
        name: Of the file that it writes, with its suffix.
        run: Takes arguments and returns an exit code.
        arguments: In their order; `{name}` is the file of a step, and OUT the file to write.
        words: What `--list` calls it.
    """

    name: str
    run: Callable[[Sequence[str]], int]
    words: str
    arguments: tuple[str, ...]

    def needs(self) -> list[str]:
        """Names of the steps that come before it."""
        return [word[1:-1] for word in self.arguments if word.startswith("{")]

    def make(self, folder: Path, made: Mapping[str, Path], share: float, threads: int) -> Path:
        """Writes the file, unless it is there and as new as what it is made of.

        Raises:
            ConfigError: It ends with an exit code; it has said why.
        """
        out = folder / self.name
        places = {"OUT": str(out), **{f"{{{name}}}": str(path) for name, path in made.items()}}
        if out.is_file() and any(_written(made[name]) > _written(out) for name in self.needs()):
            out.unlink()
        if not out.is_file() and self.run([places.get(word, word) for word in self.arguments]):
            raise ConfigError(f"step '{self.name}' failed; its message is above.")
        return out


def _written(path: Path) -> int:
    return path.stat().st_mtime_ns


def _grown(name: str, config: str, start: str) -> Tool:
    return Tool(name, grow.main, "tools/misc/grow.py", (str(CONFIGS / f"{config}.py"), f"{{{start}}}", "OUT"))


def _averaged(name: str, first: str, second: str) -> Tool:
    words = (f"{{{first}}}", f"{{{second}}}", "OUT")
    return Tool(name, average_checkpoints.main, "tools/misc/average_checkpoints.py", words)


def _packed(name: str, checkpoint: str, *options: str) -> Tool:
    return Tool(name, run_dtir, "dtir models pack", ("models", "pack", f"{{{checkpoint}}}", "OUT", *options))


_CONSTANT = {"lr": 5e-4, "schedule": "constant"}
STEPS: tuple[Training | Tool, ...] = (
    # The network, which grows.
    Training("small", "universal_nafnet", (8_000, 7_644)),
    _grown("deep.pth", "universal_nafnet_deep", "small"),
    Training("deep", "universal_nafnet_deep", (2_979,), "deep.pth"),
    Training("cooldown", "universal_nafnet_cooldown", (5_000,), "deep"),
    Training("again", "universal_nafnet_cooldown", (8_500,), "cooldown"),
    _grown("deeper.pth", "universal_nafnet_gpu", "again"),
    Training("gpu", "universal_nafnet_gpu", (2_500, 95), "deeper.pth"),
    Training("gpu_cooldown", "universal_nafnet_gpu_cooldown", (1_800,), "gpu"),
    Training("level", "universal_nafnet_gpu_cooldown", (1_286,), "gpu_cooldown", _CONSTANT),
    Training("frames", "universal_nafnet_frames", (2_500, 3_000), "level"),
    # Parts of damages' own.
    _grown("parts.pth", "universal_nafnet_parts", "frames"),
    Training("parts", "universal_nafnet_parts", (3_600,), "parts.pth"),
    _grown("shadows.pth", "universal_nafnet_shadows", "parts"),
    Training("shadows", "universal_nafnet_shadows", (3_000,), "shadows.pth"),
    Tool("narrow.pth", narrow.main, "tools/misc/narrow.py", ("{shadows}", "OUT")),
    _packed("with_parts.safetensors", "narrow.pth"),
    # The network once more, without them, and both together.
    Tool("base.pth", unpack.main, "tools/misc/unpack.py", ("{with_parts.safetensors}", "OUT", "--without-parts")),
    Training("longer", "universal_nafnet_gpu_longer", (150, 417), "base.pth"),
    Training("large", "universal_nafnet_large", (2_600,), "longer"),
    _averaged("mean.pth", "longer", "large"),
    Tool("joined.pth", graft.main, "tools.misc.graft", ("{mean.pth}", "{with_parts.safetensors}", "OUT")),
    Training("shadows_again", "universal_nafnet_shadows_again", (700,), "joined.pth"),
    Training("parts_again", "universal_nafnet_parts_again", (1_500, 1_500), "shadows_again"),
    Training("parts_longer", "universal_nafnet_parts_longer", (1_800,), "parts_again"),
    Training("shadows_longer", "universal_nafnet_shadows_again", (3_200,), "parts_longer", {"patch": 256}),
    # Only the parts of shadows differ between the two, so that these alone are averaged.
    _averaged("parts_mean.pth", "parts_longer", "shadows_longer"),
    _packed("larger.safetensors", "parts_mean.pth"),
    # The network further, in two trainings with more of haze and rain, the mean of these and the one before, and the
    # parts as they were.
    Training("large_again", "universal_nafnet_large", (4_200,), "mean.pth", seed=11),
    _averaged("mean_again.pth", "mean.pth", "large_again"),
    Training("recorded", "universal_nafnet_recorded", (4_000,), "mean_again.pth", seed=41),
    Training("recorded_other", "universal_nafnet_recorded", (4_000,), "mean_again.pth", seed=42),
    _averaged("mean_recorded.pth", "recorded", "recorded_other"),
    _averaged("mean_of_means.pth", "mean.pth", "mean_recorded.pth"),
    Tool("rejoined.pth", graft.main, "tools.misc.graft", ("{mean_of_means.pth}", "{larger.safetensors}", "OUT")),
    # What tells the damage.
    Training("estimator", "universal_estimator", (2_000, 1_600)),
    Training("estimator_longer", "universal_estimator_longer", (4_000,), "estimator"),
    Training("estimator_again", "universal_estimator_longer", (2_800,), "estimator_longer", {"lr": 1.2e-3}),
    Training("estimator_mixtures", "universal_estimator_mixtures", (3_600,), "estimator_again"),
    Training("glance", "universal_glance", (4_000,)),
    _packed(
        "universal.safetensors",
        "rejoined.pth",
        *("--estimator", "{estimator_mixtures}", "--least-confidence", "0.75", "--least-of-two", "0.85"),
        *("--odds", "motion-blurry=0.05", "shadowed=0.1", "--flips-up-to", "400000"),
        *("--glance", "{glance}", "--glance-odds", "hazy=0.2", "--trials", "shadowed=0.6"),
    ),
)


def described(step: Training | Tool, share: float) -> str:
    """A line for people on what a step does."""
    if isinstance(step, Tool):
        return f"{step.name}: {step.words} of {', '.join(step.needs())}"
    others = {**step.stage, **({} if step.seed is None else {"seed": step.seed})}
    words = [f"from {step.start}"] if step.start else []
    words += [f"with {', '.join(f'{name} {value}' for name, value in others.items())}"] if others else []
    line = f"{step.name}: {sum(step.lengths(share)):,} iterations of configs/models/{step.config}.py"
    return ", ".join([line, *words])


def plan(share: float) -> str:
    """What will be done, a line a step, and how much training that is of each kind of model."""
    lines, pixels = [], Counter()
    for step in STEPS:
        lines.append(described(step, share))
        if isinstance(step, Training):
            config = step.settings(share)
            batch, stages = config.train_dataloader.batch_size, config.train_cfg.stages
            # Those that see small copies have no patches.
            iters = Counter()
            for stage in stages:
                iters[stage.get("patch")] += stage.iters
            del iters[None]
            lines[-1] += f"; batch {batch}" + "".join(
                f"; {count:,} of {side} x {side}" for side, count in iters.items()
            )
            pixels[config.model.type] += batch * sum(count * side**2 for side, count in iters.items())
    sums = {kind: f"{count / UNIT:,.0f} iterations of batch 8, 96 x 96" for kind, count in pixels.items() if count}
    return "\n".join([*lines, *(f"{kind}: as many pixels as {length}" for kind, length in sums.items())])


def make(folder: Path, share: float, threads: int) -> Path:
    """Carries out the steps that are not done yet; returns the model's file.

    Args:
        folder: Of the results.
        share: Of the iterations, above 0 and at most 1; each training has one at least.
        threads: Threads of a training.

    Raises:
        ConfigError: A step failed, or OUT holds one that was done with another share.
    """
    made: dict[str, Path] = {}
    for number, step in enumerate(STEPS, 1):
        log = f" ({folder / step.name / LOG})" if isinstance(step, Training) else ""
        print(f"[{number}/{len(STEPS)}] {described(step, share)}{log}", flush=True)
        made[step.name] = step.make(folder, made, share, threads)
    return made[STEPS[-1].name]


def share_of(text: str) -> float:
    """A number above 0 and at most 1."""
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(f"'{text}'; expected a number above 0 and at most 1, such as 0.001.")
    return share


def main(argv: Sequence[str] | None = None) -> int:
    """Makes the model; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of the trainings and of the model")
    parser.add_argument("--share", type=share_of, default=1.0, help="share of each training's iterations (default: 1)")
    parser.add_argument("--threads", type=positive_int, default=torch.get_num_threads(), help="of a training")
    parser.add_argument("--list", action="store_true", help="only say what will be done")
    args = parser.parse_args(argv)
    if args.list:
        print(plan(args.share))
        return 0
    model = make(args.out, args.share, args.threads)
    print(f"wrote {model}. What it does: python -m benchmarks.weights {shlex.quote(str(model))} --out SCORES")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
