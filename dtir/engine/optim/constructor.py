"""Which parameters train with which learning rate and weight decay."""

import inspect
from collections import defaultdict
from dataclasses import dataclass, field, fields

from mmengine.optim import OptimWrapper
from torch import nn

from dtir.config.check import part_problems
from dtir.core.errors import ConfigError
from dtir.core.names import did_you_mean
from dtir.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS

MODULATION = ("to_modulation.", "modulation_code.")


@dataclass(frozen=True)
class Paramwise:
    """`optim_wrapper.paramwise_cfg`: factors of a parameter's learning rate and weight decay, by its name and kind.

    Attributes:
        custom_keys: By a part of the parameter's name a dict of `lr_mult` and `decay_mult`, each 1 by default. Of
            several that fit, the longest counts, and the other attributes do not.
        bias_lr_mult: Factor for the learning rate of biases.
        bias_decay_mult: Factor for the weight decay of biases.
        norm_decay_mult: Factor for the weight decay of norms, modules whose class has "norm" in its name.
        flat_decay_mult: Factor for the weight decay of parameters that are longer than 1 in at most one direction:
            scales, temperatures.
        modulation_decay_mult: Factor for the weight decay of the layers that give every block its gain and shift by the
            time step.
    """

    custom_keys: dict[str, dict[str, float]] = field(default_factory=dict)
    bias_lr_mult: float = 1.0
    bias_decay_mult: float = 0.0
    norm_decay_mult: float = 0.0
    flat_decay_mult: float = 0.0
    modulation_decay_mult: float = 0.0

    @classmethod
    def from_config(cls, config: dict) -> "Paramwise":
        """Builds it from a config dict.

        Raises:
            ConfigError: A key is unknown, or a value is no factor.
        """
        place = "optim_wrapper.paramwise_cfg"
        if not isinstance(config, dict):
            raise ConfigError(f"{place} is {config!r}; expected a dict of factors.")
        _check_keys(config, [entry.name for entry in fields(cls)], place)
        problems = part_problems(config, place, cls)
        if problems:
            raise ConfigError("\n".join(problems))
        for name, factors in config.get("custom_keys", {}).items():
            _check_keys(factors, ["lr_mult", "decay_mult"], f"{place}.custom_keys['{name}']")
        return cls(**config)

    def factors(self, name: str, module: nn.Module, shape: tuple[int, ...]) -> tuple[float, float]:
        """Those of the learning rate and the weight decay of a parameter of a module."""
        own = [key for key in self.custom_keys if key in name]
        if own:
            chosen = self.custom_keys[max(own, key=len)]
            return chosen.get("lr_mult", 1.0), chosen.get("decay_mult", 1.0)
        is_norm = "norm" in type(module).__name__.lower()
        # Also a table of biases, of attention, by position.
        is_bias = "bias" in name.rpartition(".")[2] and not is_norm
        kinds = (
            (any(part in name for part in MODULATION), self.modulation_decay_mult),
            (is_norm, self.norm_decay_mult),
            (is_bias, self.bias_decay_mult),
            (sum(side > 1 for side in shape) <= 1, self.flat_decay_mult),
        )
        decay_mult = next((factor for fits, factor in kinds if fits), 1.0)
        return self.bias_lr_mult if is_bias else 1.0, decay_mult


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class StagedOptimWrapperConstructor:
    """Builds optimiser and wrapper with a group of parameters for each learning rate and weight decay.

    The stage's learning rate is multiplied by each group's own factor. Norms, biases, scales and the time modulation
    have no weight decay unless `paramwise_cfg` says so.

    Args:
        optim_wrapper_cfg: Config of the wrapper, with `optimizer`.
        paramwise_cfg: Keys of `Paramwise`.

    Raises:
        ConfigError: The optimiser is missing or has a rate of 0, or a key of `paramwise_cfg` is unknown or fits no
            parameter.
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        self.wrapper = dict(optim_wrapper_cfg)
        if "optimizer" not in self.wrapper:
            raise ConfigError("optim_wrapper.optimizer is missing; expected such as dict(type='Adam', lr=1e-4).")
        self.optimizer = dict(self.wrapper.pop("optimizer"))
        if self.optimizer.get("lr") == 0:
            raise ConfigError(
                "optim_wrapper.optimizer.lr is 0; expected a number > 0, or none: the stages' own replaces it."
            )
        self.paramwise = Paramwise.from_config(paramwise_cfg or {})

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """The wrapper of the optimiser of all parameters of a model."""
        optimizer = OPTIMIZERS.build({**self.optimizer, "params": self._groups(model)})
        closure = inspect.signature(type(optimizer).step).parameters.get("closure")
        if closure is not None and closure.default is inspect.Parameter.empty:
            raise ConfigError(
                f"optim_wrapper.optimizer.type is {self.optimizer['type']!r}, which runs the network several times in "
                "a step; expected an optimizer that takes one gradient, such as AdamW."
            )
        return OPTIM_WRAPPERS.build({"type": "OptimWrapper", **self.wrapper, "optimizer": optimizer})

    def _groups(self, model: nn.Module) -> list[dict]:
        rate, decay = (self._setting(name) for name in ("lr", "weight_decay"))
        groups: dict[tuple[float, float], list[nn.Parameter]] = defaultdict(list)
        names = []
        for name, p in model.named_parameters():
            names.append(name)
            lr_mult, decay_mult = self.paramwise.factors(
                name, model.get_submodule(name.rpartition(".")[0]), tuple(p.shape)
            )
            groups[lr_mult, decay_mult if decay else 1.0].append(p)
        self._check_custom_keys(names)
        options = [{"lr": rate * lr_mult, "weight_decay": decay * decay_mult} for lr_mult, decay_mult in groups]
        known = self._known()
        return [
            {"params": params, **{key: value for key, value in option.items() if key in known}}
            for params, option in zip(groups.values(), options, strict=True)
        ]

    def _known(self) -> dict[str, inspect.Parameter]:
        kind = self.optimizer["type"]
        return dict(inspect.signature(OPTIMIZERS.get(kind) if isinstance(kind, str) else kind).parameters)

    def _setting(self, name: str) -> float:
        """The value in the config, or the optimiser's default; 0 for an optimiser without it."""
        known = self._known()
        default = known[name].default if name in known else 0.0
        if name in known and default is inspect.Parameter.empty and name not in self.optimizer:
            raise ConfigError(f"optim_wrapper.optimizer.{name} is missing: {self.optimizer['type']} has no default.")
        return self.optimizer.get(name, default)

    def _check_custom_keys(self, names: list[str]) -> None:
        for key in self.paramwise.custom_keys:
            if not any(key in name for name in names):
                raise ConfigError(
                    f"optim_wrapper.paramwise_cfg.custom_keys: '{key}' is part of no parameter's name; names are such "
                    f"as {', '.join(names[:3])}."
                )


def _check_keys(config: dict, known: list[str], place: str) -> None:
    for key in config:
        if key not in known:
            raise ConfigError(f"{place}: unknown key '{key}'.{did_you_mean(key, known)} Keys: {', '.join(known)}.")
