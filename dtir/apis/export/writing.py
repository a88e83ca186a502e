"""A model made into files of other runtimes, compared with PyTorch before they are written."""

import itertools
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from dtir.apis.export.exported import estimator_beside
from dtir.apis.export.graph_files import Graph, Signature, open_graph, torchscript_graph, weights_beside, write_graph
from dtir.apis.models.files import SUFFIX, write_model_file
from dtir.apis.models.graph_names import SUFFIXES, backend_of
from dtir.apis.restoring.contract import judgement_of, restorer_traits
from dtir.apis.restoring.steps import TaskSteps
from dtir.apis.restoring.wish import AUTO
from dtir.core.atomic import atomic_write
from dtir.core.digests import file_sha256
from dtir.core.errors import ConfigError
from dtir.models import ConditionedNetwork
from dtir.models.estimator import LEAST_SIDE, SIDE, TaskEstimator
from dtir.models.folding import fold
from dtir.registry import RESTORERS
from dtir.version import __version__

# Of one task, a model file of dtir is written too: its experts and time conditioning in plain layers.
KINDS = (*SUFFIXES, "safetensors")
# A file whose output is further from PyTorch's than this is not written.
MOST_DIFFERENCE = 1e-4
# (B, H, W) of the pictures that are compared: even and odd, wide and high, smaller and larger than the traced one.
COMPARED = ((1, 64, 64), (2, 61, 87), (1, 130, 33), (1, 160, 192))
# What a trace is made of; no number of it is one that code computes with, or a multiple of a network's.
TRACED = (2, 77, 93)
VALUE_RANGE = "RGB in [0, 1], float32; outputs are not clipped"
_PICTURE = {0: "batch", 2: "height", 3: "width"}


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        files: In their order: the model first.
        tasks: That it restores.
        difference: The largest from PyTorch, of pictures in [0, 1].
        notes: What the caller should know.
    """

    files: tuple[Path, ...]
    tasks: tuple[str, ...]
    difference: float
    notes: tuple[str, ...] = ()


class _AtStep(nn.Module):
    """A restorer at one step: pictures alone are its input."""

    def __init__(self, restorer: nn.Module, step: int) -> None:
        super().__init__()
        self.restorer, self.step = restorer, step

    def forward(self, picture: Tensor) -> Tensor:
        return self.restorer.restore(picture, torch.full_like(picture[:, 0, 0, 0], self.step, dtype=torch.long))


class _WithStep(nn.Module):
    """A restorer whose steps are an input."""

    def __init__(self, restorer: nn.Module) -> None:
        super().__init__()
        self.restorer = restorer

    def forward(self, picture: Tensor, step: Tensor) -> Tensor:
        return self.restorer.restore(picture, step)


class _Answers(nn.Module):
    """An estimator of pictures that have its size: logits, and places where it tells the step."""

    def __init__(self, estimator: TaskEstimator) -> None:
        super().__init__()
        self.estimator = estimator

    def forward(self, picture: Tensor) -> Tensor | tuple[Tensor, ...]:
        answers = self.estimator.answers(picture)
        return answers if self.estimator.steps else answers[0]


def export_model(
    restorer: nn.Module,
    path: str | Path,
    kind: str,
    task: str = AUTO,
    name: str | None = None,
    licence: str = "",
) -> Exported:
    """Writes a restorer, as `load_restorer` gives it, for another runtime; each file appears whole or not at all.

    For one task the step is a constant, and experts are folded into plain layers (`dtir.models.folding`). For
    "auto" the step is an input beside the picture, and the estimator becomes a second file, see `estimator_beside`.

    Args:
        restorer: In eval mode, on the CPU.
        path: The file, which ends as its kind does.
        kind: One of `KINDS`.
        task: One of the restorer's, or "auto"; of a restorer with one task that one, unless its step is estimated.
        name: What the model is called; the file's name without its ending by default.
        licence: Under which the weights may be used.

    Raises:
        ConfigError: The restorer cannot be exported (it samples, or has no estimator for "auto"), a package is missing,
            or what was made differs from PyTorch by more than `MOST_DIFFERENCE`; nothing is written then.
        TaskError: The restorer does not know the task.
    """
    path = Path(path)
    check_export(path, kind)
    if hasattr(restorer, "set_sampling"):
        raise ConfigError(
            f"a {type(restorer).__name__} restores in many steps with random numbers, which no such file holds; only "
            "models that restore in one call of their network are exported."
        )
    steps = judgement_of(getattr(restorer, "estimator", None), restorer.tasks).steps
    if task == AUTO and len(restorer.tasks) == 1 and not steps:
        task = restorer.tasks[0]
    name, licence = name or path.stem, licence or restorer_traits(restorer).licence
    if kind == "safetensors":
        return _folded_file(restorer, path, task, name, licence)
    parts = _for_all(restorer) if task == AUTO else _for_one(restorer, task)
    with tempfile.TemporaryDirectory() as folder:
        return _Writer(Path(folder), path, kind).write(restorer, parts, {"name": name, "licence": licence})


def check_export(path: Path, kind: str) -> None:
    """Raises ConfigError for a kind that is not known, or a file that ends otherwise."""
    if kind not in KINDS:
        raise ConfigError(f"'{kind}' is no kind of export; use one of {', '.join(KINDS)}.")
    suffix = SUFFIXES.get(kind, SUFFIX)
    if path.suffix != suffix:
        raise ConfigError(f"'{path}': a file of kind {kind} ends in {suffix}.")


@dataclass(frozen=True)
class _Parts:
    """What is written: the network of the restorer, its facts and, of all tasks, the estimator."""

    network: nn.Module
    steps: dict[str, int]
    estimator: TaskEstimator | None = None
    notes: tuple[str, ...] = ()


def _for_all(restorer: nn.Module) -> _Parts:
    if not isinstance(restorer.estimator, TaskEstimator):
        raise ConfigError(
            f"this model has no estimator, so that nothing can be chosen by itself: name the task (--task), one of "
            f"{', '.join(restorer.tasks)}."
        )
    steps = TaskSteps(restorer)
    return _Parts(_WithStep(restorer), {task: steps.of_task(task) for task in restorer.tasks}, restorer.estimator)


def _for_one(restorer: nn.Module, task: str) -> _Parts:
    step = TaskSteps(restorer).of_task(task)
    try:
        folded, notes = folded_restorer(restorer, task), ()
    except ConfigError as error:
        folded, notes = restorer, (f"not folded: {error}",)
    return _Parts(_AtStep(folded, step), {task: step}, None, notes)


def folded_restorer(restorer: nn.Module, task: str) -> nn.Module:
    """The restorer of one task with its experts and time conditioning in plain layers; itself, if it has none.

    Raises:
        ConfigError: Its adapters cannot be folded, or its config is not known.
        TaskError: It does not know the task.
    """
    step = TaskSteps(restorer).of_task(task)
    network = getattr(restorer, "network", None)
    if not isinstance(network, ConditionedNetwork):
        return restorer
    if getattr(restorer, "model_cfg", None) is None:
        raise ConfigError("the config of this restorer is not known; load it from a file.")
    folded, config = fold(network, step), dict(restorer.model_cfg)
    backbone = config["network"]["backbone"]
    config |= {"network": {"type": "FixedStep", "backbone": backbone, **folded.settings()}, "tasks": [task]}
    # Steps of tasks that it no longer knows.
    for key in ("matched_t", "task_steps"):
        config.pop(key, None)
    made = RESTORERS.build(config)
    made.network.load_state_dict(folded.state_dict())
    made.matched_t.fill_(step)
    made.model_cfg, made.custom_imports = config, getattr(restorer, "custom_imports", ())
    return made.eval()


def _folded_file(restorer: nn.Module, path: Path, task: str, name: str, licence: str) -> Exported:
    if task == AUTO:
        raise ConfigError("a model file is folded for one task: name it (--task). The model itself holds all of them.")
    step, made = TaskSteps(restorer).of_task(task), folded_restorer(restorer, task)
    difference = _largest(restorer, _AtStep(made, step), {task: step})
    write_model_file(path, made, name, f"{task} alone, folded", licence, half=False)
    return Exported((path,), (task,), difference)


class _Writer:
    """Makes the files of an export in a folder of their own, compares them, and puts them where they belong."""

    def __init__(self, folder: Path, target: Path, kind: str) -> None:
        self.made, self.target, self.kind = folder / target.name, target, kind

    def write(self, restorer: nn.Module, parts: _Parts, about: dict) -> Exported:
        about = {**about, "dtir_version": __version__, "value_range": VALUE_RANGE}
        estimator, compared = None, [0.0]
        if parts.estimator is not None:
            estimator, difference = self._estimator(parts.estimator, about)
            compared.append(difference)
        compared.append(self._restorer(restorer, parts, {**about, "estimator": estimator}))
        files = [self.made] if estimator is None else [estimator_beside(self.made), self.made]
        placed = [self._place(file) for made in files for file in self._files_of(made)]
        return Exported(tuple(reversed(placed)), tuple(parts.steps), max(compared), parts.notes)

    def _restorer(self, restorer: nn.Module, parts: _Parts, about: dict) -> float:
        traits = restorer_traits(restorer)
        chosen = isinstance(parts.network, _WithStep)
        facts = {
            **about,
            "tasks": list(parts.steps),
            "steps": parts.steps,
            "step_input": chosen,
            "num_timesteps": int(restorer.num_timesteps),
            "flips_up_to": int(getattr(restorer, "flips_up_to", 0)),
            "size_multiple": traits.size_multiple,
            "scale": traits.scale,
            "tiles": traits.tiles,
            "half_precision": traits.half_precision,
        }
        first = next(iter(parts.steps.values()))
        inputs = [noise(*TRACED), torch.full((TRACED[0],), first)][: 1 + chosen]
        names, axes = (("picture", "step"), (_PICTURE, {0: "batch"})) if chosen else (("picture",), (_PICTURE,))
        write_graph(self.made, self.kind, parts.network, inputs, Signature(names, ("restored",), axes), facts)
        return _largest(restorer, self._opened(self.made), parts.steps)

    def _estimator(self, estimator: TaskEstimator, about: dict) -> tuple[dict, float]:
        path = estimator_beside(self.made)
        known = {name: value for name, value in estimator.settings().items() if name != "width"}
        facts = {**about, **known, "most_side": SIDE, "least_side": LEAST_SIDE}
        signature = Signature(("picture",), ("logits", "places") if estimator.steps else ("logits",), (_PICTURE,))
        write_graph(path, self.kind, _Answers(estimator), [noise(*TRACED)], signature, facts)
        difference = _largest_of(estimator, self._opened(path))
        return {**known, "sha256": file_sha256(path)}, difference

    def _opened(self, path: Path) -> Graph:
        if self.kind == "torchscript":
            return torchscript_graph(path)
        return open_graph(path, backend_of(path))

    def _files_of(self, made: Path) -> Iterator[Path]:
        if self.kind == "openvino":
            yield weights_beside(made)
        yield made

    def _place(self, made: Path) -> Path:
        target = self.target.with_name(made.name)
        with atomic_write(target) as file:
            file.write(made.read_bytes())
        return target


def noise(batch: int, height: int, width: int) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1] that are always the same."""
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def _largest(restorer: nn.Module, made: Graph | nn.Module, steps: dict[str, int]) -> float:
    """The largest difference of what was made from the restorer, over sizes and the steps in turn."""
    turn, largest = itertools.cycle(steps.values()), 0.0
    for size in COMPARED:
        picture, step = noise(*size), torch.tensor([next(turn) for _ in range(size[0])])
        expected = restorer.restore(picture, step)
        if isinstance(made, nn.Module):
            found = made(picture)
        else:
            (found,) = _run(made, [picture, step] if made.facts["step_input"] else [picture], size)
        largest = max(largest, _difference(found, expected, size))
    return largest


@torch.no_grad()
def _largest_of(estimator: TaskEstimator, graph: Graph) -> float:
    return max(
        _difference(found, expected, size)
        for size, picture in ((size, noise(*size)) for size in COMPARED)
        for found, expected in zip(_run(graph, [picture], size), estimator.answers(picture), strict=True)
    )


def _run(graph: Graph, inputs: list[Tensor], size: tuple[int, int, int]) -> list[Tensor]:
    try:
        return [torch.from_numpy(each) for each in graph.run(*(each.numpy() for each in inputs))]
    except Exception as error:
        # What runtimes raise has no class of its own.
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise ConfigError(
            f"what was exported does not run for pictures of {size[2]} x {size[1]} pixels, so that nothing is written: "
            f"this network computes with the size in a way that a trace does not hold ({reason})."
        ) from error


def _difference(found: Tensor, expected: Tensor, size: tuple[int, int, int]) -> float:
    if found.shape != expected.shape:
        raise ConfigError(
            f"what was exported gives {tuple(found.shape)} for pictures of {size[2]} x {size[1]} pixels, and the model "
            f"{tuple(expected.shape)}; nothing is written."
        )
    difference = (found - expected).abs().max().item()
    # Written so that NaN is refused too.
    if not difference <= MOST_DIFFERENCE:
        raise ConfigError(
            f"what was exported differs from PyTorch by {difference:.1e} for pictures of {size[2]} x {size[1]} pixels, "
            f"which is more than {MOST_DIFFERENCE:.0e}; nothing is written."
        )
    return difference
