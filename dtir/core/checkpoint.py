"""Checkpoints of tensors and plain types, read with `weights_only=True` and matched to a model with clear errors."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from dtir.core.checkpoint_files import LAST_CHECKPOINT, check_checkpoint_file, find_last_checkpoint, is_safetensors
from dtir.core.errors import CheckpointError
from dtir.core.memory import is_lack_of_memory

__all__ = ["LAST_CHECKPOINT", "find_last_checkpoint", "load_checkpoint", "load_state", "to_cpu"]


def load_checkpoint(
    path: str | Path, map_location: str | torch.device = "cpu", plain_types: Sequence[type] = ()
) -> dict:
    """Reads a checkpoint without running code from it.

    Args:
        path: A file written by `torch.save`, or a safetensors file, which then is a dict of tensors.
        map_location: Device of the tensors.
        plain_types: Classes that only hold values, to be accepted in the file, such as `argparse.Namespace`.

    Raises:
        CheckpointError: The file is missing, damaged, not a checkpoint (see `check_checkpoint_file`), holds pickled
            code, or takes more memory than there is.
    """
    path = check_checkpoint_file(path)
    if is_safetensors(path):
        return _load_safetensors(path, map_location)
    try:
        with torch.serialization.safe_globals(list(plain_types)):
            checkpoint = torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        if "truncated" in str(error):
            raise _cut_off(path) from error
        raise CheckpointError(
            f"'{path}' holds pickled Python objects beside tensors, or is not a checkpoint; loading it could run code, "
            f"so it is refused. Save only tensors and plain types, for example the bare state dict. ({_reason(error)})"
        ) from error
    except Exception as error:
        if is_lack_of_memory(error):
            raise _too_large(path) from error
        # Bytes that are no checkpoint lead the reader anywhere: there is no list of what it may raise.
        if isinstance(error, (EOFError, IndexError)) or "unexpected EOF" in str(error):
            raise _cut_off(path) from error
        raise CheckpointError(f"'{path}' is damaged or not a checkpoint: {_reason(error)}") from error
    if not isinstance(checkpoint, dict):
        raise CheckpointError(f"'{path}' holds a {type(checkpoint).__name__}; expected a dict with 'state_dict'.")
    return checkpoint


def _cut_off(path: Path) -> CheckpointError:
    return CheckpointError(f"'{path}' is cut off after {path.stat().st_size} bytes; copy or download it again.")


def _too_large(path: Path) -> CheckpointError:
    return CheckpointError(
        f"there is not enough memory to read '{path}' of {path.stat().st_size} bytes; close other programs, or use a "
        "machine with more."
    )


def _load_safetensors(path: Path, map_location: str | torch.device) -> dict[str, Tensor]:
    try:
        return load_file(path, device=str(map_location))
    except SafetensorError as error:
        raise CheckpointError(f"'{path}' is a damaged safetensors file: {_reason(error)}") from error
    except (MemoryError, RuntimeError) as error:
        if is_lack_of_memory(error):
            raise _too_large(path) from error
        raise


def _reason(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__


def load_state(model: nn.Module, state: dict[str, Tensor], source: str | Path) -> None:
    """Loads a state dict into a model; every key and shape must match.

    Raises:
        CheckpointError: See `check_state`.
    """
    check_state(model, state, source)
    model.load_state_dict(state)


def check_state(model: nn.Module, state: dict[str, Tensor], source: str | Path) -> None:
    """Holds the keys and shapes of a state dict against those of a model.

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


_PLAIN = frozenset({str, int, float, bool, bytes, type(None), torch.Size, torch.dtype, torch.device})


def check_plain(value: object, place: str = "checkpoint") -> None:
    """Holds nested dicts, lists and tuples to tensors and plain values, as `load_checkpoint` reads no others.

    Args:
        value: What is to be written.
        place: Where it stands, for the message.

    Raises:
        CheckpointError: Something else is among them; the message says where.
    """
    if isinstance(value, dict):
        for key, item in value.items():
            check_plain(item, f"{place}[{key!r}]")
    elif type(value) in (list, tuple):
        for index, item in enumerate(value):
            check_plain(item, f"{place}[{index}]")
    elif not isinstance(value, Tensor) and type(value) not in _PLAIN:
        raise CheckpointError(
            f"{place} is a {type(value).__module__}.{type(value).__qualname__}, which could not be read again: a "
            "checkpoint holds tensors, numbers, texts, and dicts, lists and tuples of them. Convert it in the "
            "state_dict, or the hook, that gives it."
        )


def to_cpu(value: object) -> object:
    """A copy of nested dicts, lists and tuples with all tensors detached on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu")
    if isinstance(value, dict):
        return {key: to_cpu(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_cpu(item) for item in value)
    return value
