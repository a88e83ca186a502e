"""From a checkpoint file to a model that restores."""

from pathlib import Path

import torch
from mmengine.registry import DefaultScope

from dtir.core.checkpoint import load_checkpoint, load_state
from dtir.core.errors import CheckpointError
from dtir.engine.hooks.blind_task import estimator_of
from dtir.models import Restorer
from dtir.registry import RESTORERS, SCOPE


def load_restorer(path: str | Path, device: str | torch.device = "cpu") -> Restorer:
    """Builds the model that a training checkpoint describes and loads its weights (the average, where one was kept).

    Args:
        path: A checkpoint written by a dtir training.
        device: Where the model goes.

    Returns:
        The restorer in eval mode; its `estimator` is the `TaskEstimator` of the run, or None.

    Raises:
        CheckpointError: The file is missing, damaged, unsafe, not from a dtir training, or has parts of
            unknown type.
    """
    checkpoint = load_checkpoint(path)
    config = checkpoint.get("meta", {}).get("model_cfg")
    if config is None or "state_dict" not in checkpoint:
        raise CheckpointError(
            f"'{path}' does not describe its model (meta.model_cfg, state_dict); only checkpoints written by a dtir "
            f"training can be used here. Found: {', '.join(map(str, list(checkpoint)[:5]))}."
        )
    try:
        with DefaultScope.overwrite_default_scope(SCOPE):
            model = RESTORERS.build(config)
    except KeyError as error:
        raise CheckpointError(
            f"'{path}' has a part that is not known here: {str(error.args[0]).split('. ')[0]}. Import the module that "
            "registers it first (dtir restore: --import MODULE)."
        ) from error
    load_state(model, checkpoint["state_dict"], path)
    model.estimator = estimator_of(checkpoint, len(model.tasks))
    return model.to(device).eval()
