"""What a staged training reads of its config beside the arguments of registered classes, for `check_config`."""

from dtir.config.check import Schema
from dtir.engine.runner import DEFAULT_HOOKS
from dtir.engine.stages import Stage

SCHEMA = Schema(
    default_hooks={name: hook["type"] for name, hook in DEFAULT_HOOKS.items()},
    stage=Stage,
)
