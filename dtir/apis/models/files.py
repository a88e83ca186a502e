"""A trained restorer in one safetensors file: weights in half precision, and beside them, as JSON, what rebuilds it.

The header holds `format`, `config` (of the restorer), `tasks`, `steps` (time step by task), `estimator` (its settings,
or null), `parameters`, `custom_imports` (modules that its training imported; may be
missing), `name`, `description`, `licence`, `dtir_version` and `sha256` of
the tensors. The tensors are those of the restorer below `model.` and those of the estimator below `estimator.`.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError, safe_open

from dtir.core.atomic import atomic_write
from dtir.core.errors import CheckpointError
from dtir.tasks import CLEAN
from dtir.version import __version__

if TYPE_CHECKING:
    from torch import Tensor

    from dtir.models import Restorer

SUFFIX = ".safetensors"
FORMAT = "dtir-restorer-1"
MODEL, ESTIMATOR = "model.", "estimator."


@dataclass(frozen=True)
class ModelFacts:
    """What the header of a model file says.

    Attributes:
        name: What the model is called.
        config: Config of the restorer.
        tasks: Names of its tasks, in the order of the restorer's own; `clean` among them where it was trained on that.
        steps: Time step by task.
        estimator: Settings of the `TaskEstimator`; None where there is none.
        parameters: Number of the restorer's parameters.
        size: Bytes of the file.
        description: One line for people.
        licence: Under which the weights may be used; "" where nobody said.
        version: Version of dtir that wrote the file.
        sha256: Of the tensors, hexadecimal.
        custom_imports: Modules that its training imported, which register parts of somebody's own.
    """

    name: str
    config: dict
    tasks: tuple[str, ...]
    steps: dict[str, int]
    estimator: dict | None
    parameters: int
    size: int
    description: str
    licence: str
    version: str
    sha256: str
    custom_imports: tuple[str, ...] = ()

    @property
    def damages(self) -> tuple[str, ...]:
        """The tasks that are damages: all but `clean`."""
        return tuple(task for task in self.tasks if task != CLEAN)


def is_model_file(path: str | Path) -> bool:
    """Whether a file is to be read as a model file: a .safetensors, unless its header is that of bare weights."""
    if Path(path).suffix != SUFFIX or not Path(path).is_file():
        return Path(path).suffix == SUFFIX
    try:
        with safe_open(path, "numpy") as file:
            return "format" in (file.metadata() or {}) and file.metadata()["format"] == FORMAT
    except (SafetensorError, OSError):
        return True


def read_facts(path: str | Path) -> ModelFacts:
    """Reads the header of a model file alone, without importing torch.

    Raises:
        CheckpointError: The file is missing, damaged, or not a model file of dtir.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no model file at '{path}'.")
    try:
        with safe_open(path, "numpy") as file:
            header = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"'{path}' is damaged or not a safetensors file: {error}") from error
    return _facts(path, header)


def _facts(path: Path, header: dict[str, str]) -> ModelFacts:
    if header.get("format") != FORMAT:
        raise CheckpointError(
            f"'{path}' is a safetensors file without dtir's description of a restorer (format={FORMAT}); write one "
            "from a checkpoint with dtir models pack CHECKPOINT FILE."
        )
    try:
        values = {key: json.loads(header[key]) for key in ("config", "tasks", "steps", "estimator", "parameters")}
        texts = {key: header[key] for key in ("name", "description", "licence", "sha256")}
        values["tasks"] = tuple(values["tasks"])
        values["custom_imports"] = tuple(json.loads(header.get("custom_imports", "[]")))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise CheckpointError(f"'{path}': its header is incomplete or damaged ({error}).") from error
    return ModelFacts(**values, **texts, size=path.stat().st_size, version=header.get("dtir_version", ""))


def read_model_file(path: str | Path) -> tuple[ModelFacts, dict[str, "Tensor"], dict[str, "Tensor"]]:
    """The facts of a model file, and the tensors of its restorer and its estimator, as stored.

    Raises:
        CheckpointError: See `read_facts`; or the tensors are not those that were written.
    """
    from safetensors.torch import load_file

    facts = read_facts(path)
    tensors = load_file(path)
    if _digest(tensors) != facts.sha256:
        raise CheckpointError(f"'{path}' is damaged: the checksum of its tensors is wrong. Copy or download it again.")
    return facts, _below(tensors, MODEL), _below(tensors, ESTIMATOR)


def write_model_file(
    path: str | Path,
    restorer: "Restorer",
    name: str | None = None,
    description: str = "",
    licence: str = "",
    half: bool = True,
) -> ModelFacts:
    """Writes a restorer, as `load_restorer` gives it, with its estimator; the file appears whole or not at all.

    Args:
        path: The file, which ends in .safetensors.
        restorer: With `model_cfg`, the config it was built from, and perhaps `custom_imports`, the modules that
            register its parts.
        name: What it is called; by default the file's name without its ending.
        description: One line for people.
        licence: Under which the weights may be used.
        half: Stores 16-bit floating point, of which the file is half as large.

    Raises:
        CheckpointError: The path ends otherwise, the restorer's config is not known, or a weight is no finite 16-bit
            number.
    """
    from safetensors.torch import save

    path = Path(path)
    if path.suffix != SUFFIX:
        raise CheckpointError(f"'{path}': a model file ends in {SUFFIX}.")
    tensors = _stored_tensors(restorer, half)
    header = {
        "format": FORMAT,
        "name": name or path.stem,
        "description": description,
        "licence": licence,
        "dtir_version": __version__,
        "sha256": _digest(tensors),
        **{key: json.dumps(value) for key, value in _described(restorer).items()},
    }
    data = save(tensors, header)
    with atomic_write(path) as file:
        file.write(data)
    return read_facts(path)


def _described(restorer: "Restorer") -> dict[str, object]:
    config = getattr(restorer, "model_cfg", None)
    if config is None:
        raise CheckpointError(
            f"the config of this {type(restorer).__name__} is not known, and a model file needs it: load the restorer "
            "from a checkpoint, or set its attribute model_cfg."
        )
    estimator = restorer.estimator
    return {
        "config": config,
        "tasks": list(restorer.tasks),
        "steps": dict(zip(restorer.tasks, restorer.matched_t.tolist(), strict=True)),
        "estimator": None if estimator is None else estimator.settings(),
        "parameters": sum(p.numel() for p in restorer.parameters()) - _numel(estimator),
        "custom_imports": list(getattr(restorer, "custom_imports", ())),
    }


def _numel(module) -> int:
    # The estimator is a sub-module of the restorer it was given to.
    return 0 if module is None else sum(p.numel() for p in module.parameters())


def _stored_tensors(restorer: "Restorer", half: bool) -> dict[str, "Tensor"]:
    state = {key: value for key, value in restorer.state_dict().items() if not key.startswith(ESTIMATOR)}
    tensors = {MODEL + key: value for key, value in state.items()}
    if restorer.estimator is not None:
        tensors |= {ESTIMATOR + key: value for key, value in restorer.estimator.state_dict().items()}
    return {key: _stored(key, value, half) for key, value in tensors.items()}


def _stored(key: str, value: "Tensor", half: bool) -> "Tensor":
    value = value.detach().cpu()
    if half and value.is_floating_point():
        value = value.half()
    if not value.isfinite().all():
        raise CheckpointError(f"the weight {key} has values that are not finite in 16 bits; it is not written.")
    # Tensors that share memory cannot be stored.
    return value.clone().contiguous()


def _below(tensors: dict[str, "Tensor"], prefix: str) -> dict[str, "Tensor"]:
    return {key[len(prefix) :]: value for key, value in tensors.items() if key.startswith(prefix)}


def _digest(tensors: dict[str, "Tensor"]) -> str:
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(f"{key} {tensors[key].dtype} {tuple(tensors[key].shape)}".encode())
        digest.update(tensors[key].reshape(-1).numpy().tobytes())
    return digest.hexdigest()
