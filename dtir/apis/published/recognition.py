"""Which registered network a checkpoint belongs to, and where in the file its tensors are."""

import inspect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dtir.core.errors import ConfigError
from dtir.models.backbones.zoo import ZOO, registered_networks
from dtir.models.building import build_backbone
from dtir.registry import BACKBONES

# A prefix before a network's keys, such as "module." or "ema_model.model.", has at most so many parts ...
LONGEST_PREFIX = 3
# ... and at least this share of the place's tensors.
LEAST_SHARE = 0.2


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


def recognised(checkpoint: Mapping, kinds: Iterable[type[nn.Module]] | None = None) -> tuple[dict, Weights] | None:
    """The network whose keys and shapes a checkpoint holds, from nothing but these.

    Every registered class reads its settings from the keys (`settings_of`); one whose network then has exactly these
    tensors is it. Of several, averaged weights go before others, then a published setting, then what is registered
    first: `NAFNetLocal` has NAFNet's keys.

    Args:
        checkpoint: What was read, a state dict or a dict that holds one anywhere.
        kinds: The classes to choose from, by default all registered ones.

    Returns:
        The config of the network and its tensors, or None where no registered network fits.
    """
    readers = [kind for kind in kinds or registered_networks() if hasattr(kind, "settings_of")]
    found = [match for weights in _everywhere(checkpoint) for match in _matches(weights, readers)]
    return max(found, key=_preference, default=None)


def _matches(weights: Weights, kinds: Iterable[type[nn.Module]]) -> Iterator[tuple[dict, Weights]]:
    for kind in kinds:
        config = _config_of(kind, weights.state)
        if config is not None:
            yield config, weights


def _config_of(kind: type[nn.Module], state: Mapping[str, Tensor]) -> dict | None:
    """The config of the class whose network has exactly these tensors, None if there is none."""
    try:
        config = {"type": kind.__name__, **kind.settings_of(state)}
        expected = expected_state(config)
    except (KeyError, ConfigError):
        return None
    return config if compare(state, expected).exact else None


def _preference(match: tuple[dict, Weights]) -> tuple[int, int, bool]:
    config, weights = match
    settings = [entry.backbone for entry in ZOO.values() if entry.network == config["type"]]
    published = any(_arguments(setting) == _arguments(config) for setting in settings)
    return weights.place.count("ema"), len(weights.state), published


def _arguments(config: dict) -> dict:
    """All constructor arguments of a config, those that are left to their defaults too."""
    bound = inspect.signature(BACKBONES.get(config["type"])).bind(**{k: v for k, v in config.items() if k != "type"})
    bound.apply_defaults()
    return {name: list(value) if isinstance(value, tuple) else value for name, value in bound.arguments.items()}


def likeliest_networks(checkpoint: Mapping) -> list[tuple[str, float]]:
    """Published settings that share tensors (key and shape) with a checkpoint, most alike first.

    The likeness is the number of shared tensors over that of all tensors of either, in [0, 1].
    """
    likeness = {name: best_fit(checkpoint, _published_state(name))[1].likeness for name in ZOO}
    return sorted(((n, x) for n, x in likeness.items() if x > 0), key=lambda pair: -pair[1])


@cache
def _published_state(name: str) -> dict[str, Tensor]:
    """The state dict of a published setting, kept: to build them all takes seconds."""
    return expected_state(ZOO[name].backbone)


def expected_state(config: dict) -> dict[str, Tensor]:
    """The state dict of a network, without memory or time for its values."""
    with torch.device("meta"):
        return build_backbone(config).state_dict()


def best_fit(checkpoint: Mapping, expected: Mapping[str, Tensor]) -> tuple[Weights, Fit]:
    """The tensors in a checkpoint that are most like the expected ones; of equals an average, then the first."""
    found = list(_alike(checkpoint, expected)) or [Weights("it", {}, 0)]
    fits = [(weights, compare(weights.state, expected)) for weights in found]
    return max(fits, key=lambda pair: (pair[1].likeness, pair[0].place.count("ema")))


def compare(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Fit:
    """How tensors compare with those expected, by key and shape."""
    common = expected.keys() & state.keys()
    reshaped = [key for key in expected if key in common and state[key].shape != expected[key].shape]
    missing = [key for key in expected if key not in common]
    unexpected = [key for key in state if key not in common]
    shared = len(common) - len(reshaped)
    return Fit(missing, unexpected, reshaped, shared / max(len(expected.keys() | state.keys()), 1))


def _alike(checkpoint: Mapping, expected: Mapping[str, Tensor]) -> Iterator[Weights]:
    """The tensors of each place, below the two prefixes with which most keys are expected ones."""
    for place, tensors in places(checkpoint, ""):
        prefixes = Counter(key.removesuffix(tail) for key in tensors for tail in _tails(key) if tail in expected)
        for prefix, _ in (prefixes or Counter([""])).most_common(2):
            yield _below(prefix, place, tensors)


def _everywhere(checkpoint: Mapping) -> Iterator[Weights]:
    """The tensors of each place below each prefix that many of its keys have."""
    for place, tensors in places(checkpoint, ""):
        heads = Counter(head for key in tensors for head in _heads(key))
        for prefix, number in heads.items():
            if number >= LEAST_SHARE * len(tensors):
                yield _below(prefix, place, tensors)


def _below(prefix: str, place: str, tensors: dict[str, Tensor]) -> Weights:
    state = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    label = ", keys below ".join(part for part in (place or "the file", prefix.rstrip(".")) if part)
    return Weights(label, state, len(tensors) - len(state))


def _heads(key: str) -> Iterator[str]:
    parts = key.split(".")[:-1]
    return ("".join(f"{part}." for part in parts[:i]) for i in range(min(len(parts), LONGEST_PREFIX) + 1))


def _tails(key: str) -> Iterator[str]:
    parts = key.split(".")
    return (".".join(parts[i:]) for i in range(len(parts)))


def places(node: Mapping, path: str) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """All dicts of tensors in a nested checkpoint, with the keys that lead to them."""
    tensors = {key: value for key, value in node.items() if isinstance(key, str) and isinstance(value, Tensor)}
    if tensors:
        yield path, tensors
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from places(value, f"{path}.{key}" if path else str(key))
