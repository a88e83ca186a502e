"""From a checkpoint or a model file to a model that restores."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from mmengine.registry import DefaultScope
from torch import Tensor

from dtir.apis.models.files import is_model_file, read_model_file
from dtir.apis.models.graph_names import refuse_exported
from dtir.apis.published.foreign import restorer_of_weights
from dtir.apis.published.weights import WeightsRestorer
from dtir.config.imports import add_import_folders, import_all
from dtir.core.checkpoint import load_checkpoint, load_state
from dtir.core.errors import CheckpointError, ConfigError
from dtir.engine.hooks.blind_task import estimator_of
from dtir.models import Restorer
from dtir.models.estimator import TaskEstimator
from dtir.registry import RESTORERS, SCOPE
from dtir.version import __version__


def load_restorer(path: str | Path, device: str | torch.device = "cpu") -> Restorer | WeightsRestorer:
    """Builds the model that a file describes and loads its weights (the average, where one was kept).

    Args:
        path: A checkpoint written by a dtir training, a model file (.safetensors, see `dtir.apis.models.files`), or
            bare weights of a network of dtir's or of spandrel's (see `dtir.apis.published.foreign`).
        device: Where the model goes.

    Returns:
        The restorer in eval mode, in float32; `estimator` is its `TaskEstimator`, or None; `model_cfg` is the config
        that it was built from, and `custom_imports` the modules that its training imported.

    Raises:
        CheckpointError: The file is missing, damaged, unsafe, not written by dtir, an exported model, or has parts of
            unknown type.
    """
    refuse_exported(Path(path))
    load = _from_model_file if is_model_file(path) else _from_checkpoint
    return load(path).to(device).eval()


def _from_checkpoint(path: str | Path) -> Restorer | WeightsRestorer:
    checkpoint = load_checkpoint(path)
    meta = checkpoint.get("meta")
    config = meta.get("model_cfg") if isinstance(meta, dict) else None
    if not isinstance(config, dict) or "state_dict" not in checkpoint:
        return restorer_of_weights(path, checkpoint)
    model = _build(config, path, checkpoint["meta"].get("custom_imports", ()))
    load_state(model, checkpoint["state_dict"], path)
    # A `TaskClassifier` is an estimator that was trained by itself.
    model.estimator = estimator_of(checkpoint, model.tasks) or model.estimator
    return model


def _from_model_file(path: str | Path) -> Restorer:
    facts, state, estimator_state = read_model_file(path)
    model = _build(facts.config, path, facts.custom_imports)
    load_state(model, state, path)
    if facts.estimator is not None:
        model.estimator = _estimator(facts.estimator, estimator_state, path)
    return model


def _estimator(settings: dict, state: dict[str, Tensor], path: str | Path) -> TaskEstimator:
    estimator = TaskEstimator(len(settings["classes"]), **settings)
    load_state(estimator, state, path)
    return estimator


def _build(config: dict, path: str | Path, imports: Sequence[str] = ()) -> Restorer:
    """Builds a restorer; modules that the training imported are imported where a part is not known without them."""
    model = _built_or_imported(config, path, imports)
    model.model_cfg, model.custom_imports = config, tuple(imports)
    return model


def _built_or_imported(config: dict, path: str | Path, imports: Sequence[str]) -> Restorer:
    try:
        return _built(config, path)
    except KeyError:
        add_import_folders()
        known = [name for name in imports if _is_there(name)]
    import_all(known, f"'{path}': custom_imports")
    try:
        return _built(config, path)
    except KeyError as error:
        modules = f"; the training imported {', '.join(imports)}" if imports else ""
        raise CheckpointError(
            f"'{path}' has a part that is not known here: {str(error.args[0]).split('. ')[0]}. Import the module that "
            f"registers it first (--import MODULE){modules}."
        ) from error


def _is_there(module: str) -> bool:
    # Of a dotted name the packages are imported by the search.
    return find_spec(module.partition(".")[0]) is not None


def _built(config: dict, path: str | Path) -> Restorer:
    try:
        with DefaultScope.overwrite_default_scope(SCOPE):
            return RESTORERS.build(config)
    except (TypeError, ValueError, ArithmeticError, AssertionError, AttributeError, ConfigError) as error:
        raise CheckpointError(
            f"'{path}' describes a model that this version of dtir ({__version__}) cannot build: {error}"
        ) from error
