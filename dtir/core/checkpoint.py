"""Checkpoints of tensors and plain types, read with `weights_only=True` and matched to a model with clear errors."""

import pickle
import zipfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from dtir.core.errors import CheckpointError

LAST_CHECKPOINT = "last_checkpoint"


def load_checkpoint(
    path: str | Path, map_location: str | torch.device = "cpu", plain_types: Sequence[type] = ()
) -> dict:
    """Reads a checkpoint without running code from it.

    Args:
        path: A file written by `torch.save`.
        map_location: Device of the tensors.
        plain_types: Classes that only hold values, to be accepted in the file, such as `argparse.Namespace`.

    Raises:
        CheckpointError: The file is missing, damaged, not a checkpoint, or holds pickled code.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at '{path}'.")
    try:
        with torch.serialization.safe_globals(list(plain_types)):
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"'{path}' holds pickled Python objects beside tensors, or is not a checkpoint; loading it could run code, "
            f"so it is refused. Save only tensors and plain types, for example the bare state dict. ({_reason(error)})"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise CheckpointError(f"'{path}' is damaged or not a checkpoint: {_reason(error)}") from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"'{path}' holds a {type(checkpoint).__name__}; expected a dict with 'state_dict'.")
    return checkpoint


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def load_state(model: nn.Module, state: dict[str, Tensor], source: str | Path) -> None:
    """Loads a state dict into a model; every key and shape must match.

    Raises:
        CheckpointError: Keys or shapes differ; the message counts and names them.
    """
    own = model.state_dict()
    problems = []
    missing, unexpected = own.keys() - state.keys(), state.keys() - own.keys()
    for kind, keys in (("missing", missing), ("unexpected", unexpected)):
        if keys:
            problems.append(f"{len(keys)} {kind} key(s), such as {', '.join(sorted(keys)[:3])}")
    shapes = [key for key in own.keys() & state.keys() if own[key].shape != state[key].shape]
    if shapes:
        key = sorted(shapes)[0]
        problems.append(
            f"{len(shapes)} tensor(s) of another shape, such as {key}: {tuple(state[key].shape)} in the file, "
            f"{tuple(own[key].shape)} in the model"
        )
    if problems:
        raise CheckpointError(
            f"'{source}' belongs to another model than {type(model).__name__} as configured: {'; '.join(problems)}. "
            "Use the config that the checkpoint was trained with."
        )
    model.load_state_dict(state)


def find_last_checkpoint(work_dir: str | Path) -> Path | None:
    """The newest checkpoint of a run, as its `last_checkpoint` file names it; None if the run has none.

    Raises:
        CheckpointError: The named file is gone.
    """
    pointer = Path(work_dir) / LAST_CHECKPOINT
    if not pointer.is_file():
        return None
    path = Path(work_dir) / pointer.read_text(encoding="utf-8").strip()
    if not path.is_file():
        raise CheckpointError(f"'{pointer}' names '{path.name}', which is not there. Pass a checkpoint to --resume.")
    return path


def to_cpu(value: object) -> object:
    """A copy of nested dicts, lists and tuples with all tensors detached on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu")
    if isinstance(value, dict):
        return {key: to_cpu(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_cpu(item) for item in value)
    return value
