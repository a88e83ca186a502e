"""Published checkpoints, in whatever layout their authors saved them, loaded into our networks key by key."""

import argparse
import inspect
import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import overload

import numpy as np
from torch import Tensor, nn

from dtir.core.checkpoint import load_checkpoint
from dtir.core.errors import CheckpointError, ConfigError
from dtir.core.names import did_you_mean
from dtir.core.paths import as_path
from dtir.models.backbones.image.maxim_flax import from_flax
from dtir.models.backbones.zoo import ZOO, registered_networks
from dtir.models.building import build_backbone
from dtir.registry import BACKBONES

from .recognition import Fit, Weights, best_fit, expected_state, likeliest_networks, recognised

logger = logging.getLogger(__name__)

# Shares fewer tensors than this with every known network: no guess is better than a wrong one.
LEAST_LIKENESS = 0.5


@overload
def load_backbone(path: str | Path, /, **settings: object) -> nn.Module: ...


@overload
def load_backbone(name: str, path: str | Path, /, **settings: object) -> nn.Module: ...


def load_backbone(name: str | Path, path: str | Path | None = None, /, **settings: object) -> nn.Module:
    """Builds a registered network and loads a published checkpoint into it, every key and shape matched.

    `load_backbone(path)` tells the network and its settings from the file; `load_backbone(name, path)` is told. What no
    key tells, such as the `scale` of an X-Restormer, is taken as in the class's defaults unless it is given.

    Understood are a bare state dict and dicts in which one stands under any key (`params_ema`, `params`, `state_dict`,
    `ema`, ...), with any prefix before the keys (`module.`, `net.`, `ema_model.model.`, ...); of several that fit, an
    averaged one is taken. The file is read with `weights_only=True`; an `argparse.Namespace` in it is accepted. MAXIM
    is read from its Flax `.npz`, URetinex-Net from the folder of its three files, whose settings are taken, and what a
    training of StableSR starts from also from the folder of a Stable Diffusion 2 that diffusers has saved.

    Args:
        name: A published setting (see `dtir.models.backbones.zoo.ZOO`) or a registered class. Of a class given without
            settings, those that the file tells, the published ones and the defaults are tried, and the one that fits
            is taken. Left out, the network is the one that the file fits.
        path: The checkpoint, or the folder of those of a network that is published in several.
        settings: Constructor arguments; they replace those of a published setting or of the file.

    Returns:
        The network in eval mode, on the CPU.

    Raises:
        ConfigError: The name is not known, or the network has no such setting, or not of such a kind.
        CheckpointError: The file cannot be read safely or belongs to another network; the message names missing and
            unexpected keys and the likeliest network.
    """
    config, state = read_published(name, path, **settings)
    network = build_backbone(config)
    network.load_state_dict(state, strict=True)
    return network.eval()


def read_published(
    name: str | Path, path: str | Path | None = None, /, **settings: object
) -> tuple[dict, dict[str, Tensor]]:
    """The config of the network that a published checkpoint fits, and its state dict; see `load_backbone`."""
    known, path = (None, as_path(name)) if path is None else (_known_name(str(name)), as_path(path))
    find = _find_in_folder if path.is_dir() else _find_in_file
    config, weights = find(path, known, settings)
    logger.info("%s: %s from %s", path, config["type"], weights.place)
    if weights.left_out:
        logger.info("%s: %d tensors beside the network's own are left out", path, weights.left_out)
    return config, weights.state


def _known_name(name: str) -> str:
    if name not in ZOO and name not in BACKBONES.module_dict:
        hint = did_you_mean(name, [*ZOO, *BACKBONES.module_dict])
        raise ConfigError(f"'{name}' is neither a published setting nor a registered backbone.{hint}")
    return name


def _find_in_file(path: Path, name: str | None, settings: dict) -> tuple[dict, Weights]:
    checkpoint = _of_its_network(_read(path), name)
    if name in ZOO or (name and settings):
        return _fitting(path, checkpoint, _candidates(name, settings))
    found = recognised(checkpoint, [BACKBONES.get(name)] if name else None)
    if found is None and name:
        return _fitting(path, checkpoint, _candidates(name, settings))
    if found is None:
        raise CheckpointError(f"'{path}' fits none of dtir's networks. {_likeliest(checkpoint)}")
    config, weights = found
    return _fitting(path, {weights.place: weights.state}, [{**config, **settings}]) if settings else found


def _of_its_network(checkpoint: Mapping, name: str | None) -> Mapping:
    """The checkpoint; or the tensors of one network in it, where that is published in a file with others."""
    kinds = registered_networks() if name is None else [_kind_named(name)]
    for kind in kinds:
        for place, state in checkpoint.items() if hasattr(kind, "published_state") else ():
            own = kind.published_state(state) if isinstance(state, Mapping) else None
            if own is not None:
                return {f"{place}, its {kind.__name__}": own}
    return checkpoint


def _kind_named(name: str) -> type[nn.Module]:
    return BACKBONES.get(ZOO[name].network if name in ZOO else name)


def _find_in_folder(path: Path, name: str | None, settings: dict) -> tuple[dict, Weights]:
    config = _candidates(name, settings)[0] if name else {"type": _kind_of_folder(path).__name__}
    published, state = _read_folder(path, BACKBONES.get(config["type"]))
    return _fitting(path, state, [{**config, **published, **settings}])


def _fitting(path: Path, checkpoint: Mapping, configs: list[dict]) -> tuple[dict, Weights]:
    """The config that the checkpoint fits, and its tensors."""
    attempts = [(config, *best_fit(checkpoint, expected_state(config))) for config in configs]
    config, weights, fit = max(attempts, key=lambda attempt: (attempt[2].exact, attempt[2].likeness))
    if not fit.exact:
        raise CheckpointError(_explain(path, config, weights, fit, checkpoint))
    return config, weights


def _read(path: Path) -> dict:
    return _read_flax(path) if path.suffix == ".npz" else load_checkpoint(path, plain_types=[argparse.Namespace])


def _read_flax(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return from_flax(arrays)
    except (OSError, ValueError, zipfile.BadZipFile, ConfigError) as error:
        raise CheckpointError(f"'{path}' cannot be read as a Flax checkpoint: {error}") from error


def _kind_of_folder(path: Path) -> type[nn.Module]:
    """The network whose files are in a folder."""
    published = {kind: kind.published_files for kind in registered_networks() if hasattr(kind, "published_files")}
    for kind, names in published.items():
        if all((path / name).is_file() for name in names):
            return kind
    known = "; ".join(f"{kind.__name__}: {', '.join(names)}" for kind, names in published.items())
    raise CheckpointError(
        f"'{path}' is a folder without the files of a network that is published in several ({known}); name one file."
    )


def _read_folder(path: Path, kind: type[nn.Module]) -> tuple[dict, dict[str, Tensor]]:
    """Settings and state dict of a network that is published in several files."""
    if not hasattr(kind, "published_files"):
        raise CheckpointError(f"'{path}' is a folder; {kind.__name__} is published in one file, which is wanted here.")
    missing = [name for name in kind.published_files if not (path / name).is_file()]
    if missing:
        raise CheckpointError(f"'{path}' has no {', '.join(missing)}; {kind.__name__} is published in several files.")
    try:
        return kind.read_files({name: _read(path / name) for name in kind.published_files})
    except KeyError as error:
        raise CheckpointError(f"the files in '{path}' are not those of {kind.__name__}: {error}.") from error


def _candidates(name: str, settings: dict) -> list[dict]:
    if name in ZOO:
        return [{**ZOO[name].backbone, **settings}]
    if settings:
        return [{"type": name, **settings}]
    kind = BACKBONES.get(name)
    published = [entry.backbone for entry in ZOO.values() if entry.network == kind.__name__]
    return [*published, {"type": name}] if _has_defaults(kind) else published


def _has_defaults(kind: type[nn.Module]) -> bool:
    """Whether all constructor arguments have defaults."""
    parameters = inspect.signature(kind).parameters.values()
    return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


def _explain(path: str | Path, config: dict, weights: Weights, fit: Fit, checkpoint: Mapping) -> str:
    settings = ", ".join(f"{key}={value!r}" for key, value in config.items() if key != "type")
    parts = [f"'{path}' does not belong to {config['type']}({settings}): in {weights.place}"]
    for kind, keys in (("missing", fit.missing), ("unexpected", fit.unexpected), ("of another shape", fit.reshaped)):
        if keys:
            parts.append(f"{len(keys)} {kind}, such as {', '.join(keys[:3])}")
    return f"{'; '.join(parts)}. {_likeliest(checkpoint)}"


def _likeliest(checkpoint: Mapping) -> str:
    likely = likeliest_networks(checkpoint)
    if likely and likely[0][1] >= LEAST_LIKENESS:
        name, likeness = likely[0]
        return f"It is likeliest '{name}' ({likeness:.0%} of the tensors agree)."
    return "It is like no published setting known here; give the constructor arguments."
