"""Backbones from their configs, with errors that name the setting."""

from collections.abc import Mapping

from torch import nn

from dtir.config.check import part_problems
from dtir.core.errors import ConfigError
from dtir.core.names import did_you_mean
from dtir.registry import BACKBONES


def build_backbone(config: Mapping) -> nn.Module:
    """Builds a registered network from its config, `type` and constructor arguments.

    Raises:
        ConfigError: There is no such network, it has no such setting, or a setting is not of the kind it has to be.
    """
    kind = _kind_of(config)
    settings = {key: value for key, value in config.items() if key not in ("type", "_scope_")}
    problems = part_problems(settings, kind.__name__, kind)
    if problems:
        raise ConfigError("\n".join(problems))
    return kind(**settings)


def _kind_of(config: Mapping) -> type[nn.Module]:
    name = config["type"]
    if isinstance(name, type):
        return name
    kind = BACKBONES.get(name)
    if kind is None:
        raise ConfigError(
            f"'{name}' is not a registered backbone.{did_you_mean(name, BACKBONES.module_dict)} A class of your own "
            "needs its module in custom_imports = dict(imports=['your_module'])."
        )
    return kind
