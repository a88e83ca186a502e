"""Published checkpoints, in whatever layout their authors saved them, loaded into our networks key by key."""

import argparse
import inspect
import logging
import zipfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from dtir.core.checkpoint import load_checkpoint
from dtir.core.errors import CheckpointError, ConfigError
from dtir.core.names import did_you_mean
from dtir.models.backbones.image.maxim import from_flax
from dtir.models.backbones.zoo import ZOO
from dtir.registry import BACKBONES

logger = logging.getLogger(__name__)

# Shares fewer tensors than this with every known network: no guess is better than a wrong one.
LEAST_LIKENESS = 0.5


class Weights(NamedTuple):
    """Tensors of one place in a checkpoint, by their keys below a prefix.

    Attributes:
        place: The place, such as "params" or "state_dict, keys below net.".
        state: The tensors.
        left_out: Number of tensors in the place that are not below the prefix.
    """

    place: str
    state: dict[str, Tensor]
    left_out: int


class Fit(NamedTuple):
    """How a checkpoint's tensors compare with a network's."""

    missing: list[str]
    unexpected: list[str]
    reshaped: list[str]
    likeness: float

    @property
    def exact(self) -> bool:
        """Whether all keys and shapes are equal."""
        return not (self.missing or self.unexpected or self.reshaped)


def load_backbone(name: str, path: str | Path, **settings: object) -> nn.Module:
    """Builds a registered network and loads a published checkpoint into it, every key and shape matched.

    Understood are a bare state dict and dicts in which one stands under any key (`params_ema`, `params`, `state_dict`,
    `ema`, ...), with any prefix before the keys (`module.`, `net.`, `ema_model.model.`, ...); of several that fit, an
    averaged one is taken. The file is read with `weights_only=True`; an `argparse.Namespace` in it is accepted. MAXIM
    is read from its Flax `.npz`, URetinex-Net from the folder of its three files, whose settings are taken.

    Args:
        name: A published setting (see `dtir.models.backbones.zoo.ZOO`) or a registered class. Of a class given without
            settings, the published settings and the defaults are tried, and the one that fits the file is taken.
        path: The checkpoint, or the folder of those of a network that is published in several.
        settings: Constructor arguments; they replace those of a published setting.

    Returns:
        The network in eval mode, on the CPU.

    Raises:
        ConfigError: The name is not known, or the network cannot be built with the settings.
        CheckpointError: The file cannot be read safely or belongs to another network; the message names missing and
            unexpected keys and the likeliest network.
    """
    config, state = read_published(name, path, **settings)
    network = BACKBONES.build(config)
    network.load_state_dict(state, strict=True)
    return network.eval()


def read_published(name: str, path: str | Path, **settings: object) -> tuple[dict, dict[str, Tensor]]:
    """The config of the network that a published checkpoint fits, and its state dict; see `load_backbone`."""
    path = Path(path)
    configs = _candidates(name, settings)
    if path.is_dir():
        published, checkpoint = _read_folder(path, BACKBONES.get(configs[0]["type"]))
        configs = [{**configs[0], **published, **settings}]
    else:
        checkpoint = _read_flax(path) if path.suffix == ".npz" else _read(path)
    attempts = [(config, *_best_fit(checkpoint, _expected(config))) for config in configs]
    config, weights, fit = max(attempts, key=lambda attempt: (attempt[2].exact, attempt[2].likeness))
    if not fit.exact:
        raise CheckpointError(_explain(path, config, weights, fit, checkpoint))
    logger.info("%s: %s from %s", path, config["type"], weights.place)
    if weights.left_out:
        logger.info("%s: %d tensors beside the network's own are left out", path, weights.left_out)
    return config, weights.state


def likeliest_networks(checkpoint: Mapping) -> list[tuple[str, float]]:
    """Published settings that share tensors (key and shape) with a checkpoint, most alike first.

    The likeness is the number of shared tensors over that of all tensors of either, in [0, 1].
    """
    likeness = {name: _best_fit(checkpoint, _expected(entry.backbone))[1].likeness for name, entry in ZOO.items()}
    return sorted(((n, x) for n, x in likeness.items() if x > 0), key=lambda pair: -pair[1])


def _read(path: Path) -> dict:
    return load_checkpoint(path, plain_types=[argparse.Namespace])


def _read_flax(path: Path) -> dict[str, Tensor]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return from_flax(arrays)
    except (OSError, ValueError, zipfile.BadZipFile, ConfigError) as error:
        raise CheckpointError(f"'{path}' cannot be read as a Flax checkpoint: {error}") from error


def _read_folder(path: Path, kind: type[nn.Module]) -> tuple[dict, dict[str, Tensor]]:
    """Settings and state dict of a network that is published in several files."""
    stems = getattr(kind, "published_files", None)
    if stems is None:
        raise CheckpointError(f"'{path}' is a folder; {kind.__name__} is published in one file, which is wanted here.")
    missing = [f"{stem}.pth" for stem in stems if not (path / f"{stem}.pth").is_file()]
    if missing:
        raise CheckpointError(f"'{path}' has no {', '.join(missing)}; {kind.__name__} is published in several files.")
    return kind.read_files({stem: _read(path / f"{stem}.pth") for stem in stems})


def _candidates(name: str, settings: dict) -> list[dict]:
    if name in ZOO:
        return [{**ZOO[name].backbone, **settings}]
    if name not in BACKBONES.module_dict:
        known = sorted([*ZOO, *BACKBONES.module_dict])
        hint = did_you_mean(name, known)
        raise ConfigError(f"'{name}' is neither a published setting nor a registered backbone.{hint}")
    if settings:
        return [{"type": name, **settings}]
    published = [entry.backbone for entry in ZOO.values() if entry.backbone["type"] == name]
    return [*published, {"type": name}] if _has_defaults(BACKBONES.get(name)) else published


def _has_defaults(kind: type[nn.Module]) -> bool:
    """Whether all constructor arguments have defaults."""
    parameters = inspect.signature(kind).parameters.values()
    return all(p.default is not p.empty or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


def _expected(config: dict) -> dict[str, Tensor]:
    """The state dict of a network, without memory or time for its values."""
    with torch.device("meta"):
        return BACKBONES.build(config).state_dict()


def _best_fit(checkpoint: Mapping, expected: Mapping[str, Tensor]) -> tuple[Weights, Fit]:
    """The tensors in a checkpoint that are most like the expected ones; of equals an average, then the first."""
    found = list(_weights(checkpoint, expected))
    if not found:
        found = [Weights("it", {}, 0)]
    fits = [(weights, _compare(weights.state, expected)) for weights in found]
    return max(fits, key=lambda pair: (pair[1].likeness, pair[0].place.count("ema")))


def _weights(checkpoint: Mapping, expected: Mapping[str, Tensor]) -> Iterator[Weights]:
    for place, tensors in _places(checkpoint, ""):
        prefixes = Counter(
            key.removesuffix(tail) for key in tensors for tail in _tails(key) if tail in expected
        ) or Counter([""])
        for prefix, _ in prefixes.most_common(2):
            state = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            label = ", keys below ".join(part for part in (place or "the file", prefix.rstrip(".")) if part)
            yield Weights(label, state, len(tensors) - len(state))


def _tails(key: str) -> Iterator[str]:
    parts = key.split(".")
    return (".".join(parts[i:]) for i in range(len(parts)))


def _places(node: Mapping, path: str) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """All dicts of tensors in a nested checkpoint, with the keys that lead to them."""
    tensors = {key: value for key, value in node.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors:
        yield path, tensors
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _places(value, f"{path}.{key}" if path else str(key))


def _compare(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Fit:
    common = expected.keys() & state.keys()
    reshaped = [key for key in expected if key in common and state[key].shape != expected[key].shape]
    missing = [key for key in expected if key not in common]
    unexpected = [key for key in state if key not in common]
    shared = len(common) - len(reshaped)
    return Fit(missing, unexpected, reshaped, shared / max(len(expected.keys() | state.keys()), 1))


def _explain(path: str | Path, config: dict, weights: Weights, fit: Fit, checkpoint: Mapping) -> str:
    settings = ", ".join(f"{key}={value!r}" for key, value in config.items() if key != "type")
    parts = [f"'{path}' does not belong to {config['type']}({settings}): in {weights.place}"]
    for kind, keys in (("missing", fit.missing), ("unexpected", fit.unexpected), ("of another shape", fit.reshaped)):
        if keys:
            parts.append(f"{len(keys)} {kind}, such as {', '.join(keys[:3])}")
    likely = likeliest_networks(checkpoint)
    if likely and likely[0][1] >= LEAST_LIKENESS:
        name, likeness = likely[0]
        return f"{'; '.join(parts)}. It is likeliest '{name}' ({likeness:.0%} of the tensors agree)."
    return f"{'; '.join(parts)}. It is like no published setting known here; give the constructor arguments."
