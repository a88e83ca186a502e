"""Restorers that another runtime computes: what `dtir export` wrote, in the place of one of PyTorch's."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from dtir.apis.export.graph_files import Graph, open_graph
from dtir.apis.published.weights import SoleTask
from dtir.core.digests import file_sha256
from dtir.core.errors import CheckpointError, ConfigError
from dtir.models.backbones.traits import Traits
from dtir.models.estimator import judged_part, step_at


class ExportedRestorer(nn.Module):
    """Restores as the model does that was exported, on the CPU; `RestorationInferencer` takes it for a `Restorer`.

    Args:
        path: The file, and beside it that of its estimator where it has one (`estimator_beside`).
        backend: A key of `graph_names.BACKENDS`.

    Attributes:
        precisions: In which it computes.

    Raises:
        CheckpointError: See `open_graph`; or the estimator is missing, or another one.
        ConfigError: See `open_graph`.
    """

    def __init__(self, path: Path, backend: str) -> None:
        super().__init__()
        self.path, self.backend = path, backend
        self.precisions = ("float32", "bf16") if backend == "openvino" else ("float32",)
        self._graphs = {"float32": open_graph(path, backend)}
        self._precision = "float32"
        self.facts = facts = self._graphs["float32"].facts
        if "tasks" not in facts:
            raise CheckpointError(f"'{path}' is the estimator of an exported model; name the model itself.")
        self.tasks, self.num_timesteps = tuple(facts["tasks"]), facts["num_timesteps"]
        self.register_buffer("matched_t", torch.tensor([facts["steps"][task] for task in self.tasks]))
        self.traits = Traits(
            size_multiple=facts["size_multiple"],
            scale=facts["scale"],
            tiles=facts["tiles"],
            half_precision=facts["half_precision"],
            licence=facts["licence"],
        )
        # Files of before dtir knew of it do not name it.
        self.flips_up_to = facts.get("flips_up_to", 0)
        self.estimator = self._own_estimator(facts["estimator"])

    def _own_estimator(self, about: Mapping | None) -> nn.Module | None:
        if about is not None:
            return ExportedEstimator(estimator_beside(self.path), self.backend, about)
        return SoleTask(self.tasks[0]) if len(self.tasks) == 1 else None

    @contextlib.contextmanager
    def at_precision(self, precision: str) -> Iterator[None]:
        """Computes in one of `precisions` for the time of a `with` statement."""
        if precision not in self._graphs:
            self._graphs[precision] = open_graph(self.path, self.backend, precision)
        before, self._precision = self._precision, precision
        try:
            yield
        finally:
            self._precision = before

    def restore(self, lq: Tensor, t: Tensor) -> Tensor:
        """Degraded (B, 3, H, W) in [0, 1] and steps (B,) to restored pictures, not clipped.

        Raises:
            ConfigError: The file was exported for one task, and `t` is not its step.
        """
        run = self._graphs[self._precision].run
        if self.facts["step_input"]:
            return torch.from_numpy(run(lq.contiguous().numpy(), t.numpy())[0])
        if (t != self.matched_t[0]).any():
            raise ConfigError(
                f"'{self.path}' was exported for task '{self.tasks[0]}' alone, step {int(self.matched_t[0])}; export "
                "the model with --task auto to choose a step."
            )
        return torch.from_numpy(run(lq.contiguous().numpy())[0])


class ExportedEstimator(nn.Module):
    """The estimator of an exported restorer.

    Args:
        path: Its file.
        backend: A key of `graph_names.BACKENDS`.
        about: What the restorer's file says of it: `classes`, `least_confidence`, `least_of_two`, `steps`, `trials`,
            `sha256`.

    Raises:
        CheckpointError: It is missing, or not the one that was exported with the restorer.
    """

    def __init__(self, path: Path, backend: str, about: Mapping) -> None:
        super().__init__()
        if not path.is_file():
            raise CheckpointError(f"the estimator '{path}' is missing: it belongs to the model, beside it.")
        if file_sha256(path) != about["sha256"]:
            raise CheckpointError(f"'{path}' is not the estimator that the model was exported with; export again.")
        self.classes, self.least_confidence = tuple(about["classes"]), about["least_confidence"]
        # Files of before dtir knew of them do not name them.
        self.least_of_two, self.steps = about.get("least_of_two"), about.get("steps", {})
        self.trials = about.get("trials", {})
        self.graph: Graph = open_graph(path, backend)

    def forward(self, picture: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] to logits (B, classes)."""
        return self._answers(picture)[0]

    def step_of(self, picture: Tensor, task: str) -> int:
        """The time step, among those of a task in `steps`, of one picture (1, 3, H, W) in [0, 1]."""
        return step_at(self._answers(picture)[1], self.steps, task)

    def _answers(self, picture: Tensor) -> list[Tensor]:
        return [torch.from_numpy(each) for each in self.graph.run(judged_part(picture).contiguous().numpy())]


def estimator_beside(path: Path) -> Path:
    """Where the estimator of an exported restorer lies: `NAME.estimator.onnx` beside `NAME.onnx`."""
    return path.with_name(f"{path.stem}.estimator{path.suffix}")
