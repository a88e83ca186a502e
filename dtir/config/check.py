"""Strict checking of config keys: mmengine ignores a key that nobody reads, so that a mistyped one does nothing."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache

import mmengine.registry.root
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmengine.utils import get_object_from_string, import_modules_from_strings
from torch import nn
from torch.utils.data import DataLoader

import dtir.registry
from dtir.core.errors import ConfigError
from dtir.core.names import did_you_mean

Keys = frozenset[str]

# What Config and Registry read themselves.
SYNTAX_KEYS = frozenset({"type", "_scope_", "_delete_"})
OWN_TOP_KEYS = frozenset({"runner_type", "custom_imports", "model_wrapper_cfg"})
ENV_KEYS = frozenset({"cudnn_benchmark", "mp_cfg", "dist_cfg", "resource_limit"})
AUTO_SCALE_KEYS = frozenset({"base_batch_size", "enable"})
LOADER_KEYS = frozenset({"dataset", "num_batch_per_epoch", "disable_subprocess_warning"})
# Keys that the runner takes out of a dict before the class sees it.
RUNNER_KEYS = {
    "optim_wrapper": frozenset({"constructor", "paramwise_cfg"}),
    "param_scheduler": frozenset({"convert_to_iter_based"}),
    "default_hooks": frozenset({"priority"}),
    "custom_hooks": frozenset({"priority"}),
}
# The class of a section that does not name one.
DEFAULT_TYPES = {
    "optim_wrapper": "OptimWrapper",
    "log_processor": "LogProcessor",
    "val_cfg": "ValLoop",
    "test_cfg": "RecordedTestLoop",
    "val_evaluator": "Evaluator",
    "test_evaluator": "Evaluator",
}


@dataclass(frozen=True)
class Schema:
    """What a runner reads beside the arguments of registered classes.

    Attributes:
        default_hooks: Class name of the hook that each name in `default_hooks` stands for.
        stage_keys: Keys of a dict in `train_cfg.stages`; None where stages are not checked.
    """

    default_hooks: Mapping[str, str] = field(default_factory=dict)
    stage_keys: Keys | None = None


def check_config(cfg: Config, schema: Schema, filename: str | None = None) -> None:
    """Checks every key of a config against what reads it.

    Top-level keys are those of the runner, or begin with an underscore (values that a config reuses). A dict with
    `type` may hold the arguments of that class, followed through `**kwargs` into its base classes; a class that
    takes any keyword is not checked further. Dataloaders, stages and the other parts without a class are checked too.

    Args:
        cfg: The config; its `custom_imports` are imported first.
        schema: What the runner of the config reads.
        filename: The name in the message; by default that of the config.

    Raises:
        ConfigError: Unknown keys or types. The message names each by its dotted path, with the nearest valid one.
    """
    imports = cfg.get("custom_imports")
    if imports:
        import_modules_from_strings(**imports)
    problems = list(_top_level(cfg, schema))
    if problems:
        place = filename or cfg.filename or "config"
        raise ConfigError(f"{place}: " + "\n".join(problems))


def _top_level(cfg: Config, schema: Schema) -> Iterator[str]:
    known = _parameters(Runner.__init__) - {"self", "cfg"} | OWN_TOP_KEYS
    public = [key for key in cfg if not key.startswith("_")]
    yield from _unknown_keys(public, known, "", advice=" A value for reuse inside a config needs a leading underscore.")
    for key in public:
        if key in known:
            yield from _section(key, cfg[key], schema)


def _section(key: str, value: object, schema: Schema) -> Iterator[str]:
    if not isinstance(value, (dict, list, tuple)) or key == "custom_imports":
        return
    fixed = _fixed_keys(key)
    if fixed is not None and isinstance(value, dict):
        yield from _unknown_keys(value, fixed, key)
    elif isinstance(value, dict) and "type" not in value and key in DEFAULT_TYPES:
        yield from _unknown_keys(value, _keys_of(DEFAULT_TYPES[key]) | RUNNER_KEYS.get(key, frozenset()), key)
    if key == "default_hooks" and isinstance(value, dict):
        yield from _default_hooks(value, schema.default_hooks)
    if key == "train_cfg" and isinstance(value, dict):
        yield from _stages(value.get("stages", ()), schema.stage_keys)
    yield from _walk(value, key, RUNNER_KEYS.get(key, frozenset()))


def _fixed_keys(section: str) -> Keys | None:
    if section.endswith("_dataloader"):
        return _parameters(DataLoader.__init__) - {"self"} | LOADER_KEYS
    if section == "randomness":
        return _parameters(Runner.set_randomness) - {"self"}
    return {"env_cfg": ENV_KEYS, "auto_scale_lr": AUTO_SCALE_KEYS}.get(section)


def _default_hooks(hooks: dict, types: Mapping[str, str]) -> Iterator[str]:
    for name, hook in hooks.items():
        if not isinstance(hook, dict) or "type" in hook:
            continue
        if name in types:
            known = _keys_of(types[name]) | RUNNER_KEYS["default_hooks"]
            yield from _unknown_keys(hook, known, f"default_hooks.{name}")
        else:
            yield from _unknown_keys([name], frozenset(types), "default_hooks", advice=" Another name needs a type.")


def _stages(stages: Iterable[dict], known: Keys | None) -> Iterator[str]:
    for index, stage in enumerate(stages if known is not None else ()):
        yield from _unknown_keys(stage, known, f"train_cfg.stages[{index}]")


def _walk(node: object, path: str, extra: Keys = frozenset()) -> Iterator[str]:
    if isinstance(node, dict):
        if "type" in node:
            yield from _typed_dict(node, path, extra)
        # `extra` belongs to a section's own dicts (also those in its list or under its names), not to what these hold.
        inherited = frozenset() if "type" in node else extra
        for key, value in node.items():
            yield from _walk(value, f"{path}.{key}", inherited)
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _walk(value, f"{path}[{index}]", extra)


def _typed_dict(node: dict, path: str, extra: Keys) -> Iterator[str]:
    candidates = _find_type(node["type"])
    if not candidates:
        yield _unknown_type(node["type"], path)
        return
    accepted = [accepted_keys(candidate) for candidate in candidates]
    if None not in accepted:
        known = frozenset().union(*accepted) | extra
        yield from _unknown_keys(
            [key for key in node if key not in SYNTAX_KEYS], known, path, owner=f" of {_shown(node['type'])}"
        )


def _unknown_keys(keys: Iterable[str], known: Keys, path: str, owner: str = "", advice: str = "") -> Iterator[str]:
    for key in keys:
        if key in known or key in SYNTAX_KEYS:
            continue
        dotted = f"{path}.{key}" if path else key
        valid = ", ".join(sorted(known)) or "none"
        yield f"unknown key '{dotted}'.{did_you_mean(key, known)}{advice} Valid keys{owner}: {valid}."


def _unknown_type(name: object, path: str) -> str:
    names = {name for registry in _registries() for name in registry.module_dict}
    hint = did_you_mean(str(name).rpartition(".")[2], names)
    return (
        f"{path}.type: '{name}' is not registered.{hint} A class of your own "
        "needs its module in custom_imports = dict(imports=['your_module'])."
    )


def _shown(kind: object) -> str:
    return kind if isinstance(kind, str) else getattr(kind, "__name__", repr(kind))


def _find_type(name: object) -> list[Callable]:
    """Everything that a `type` may mean: several registries may know a name."""
    if not isinstance(name, str):
        return [name] if callable(name) else []
    scope, _, bare = name.rpartition(".")
    if scope not in ("", dtir.registry.SCOPE, "mmengine"):
        found = get_object_from_string(name)
        return [found] if callable(found) else []
    return [registry.module_dict[bare] for registry in _registries() if bare in registry.module_dict]


@cache
def _registries() -> tuple[Registry, ...]:
    modules = (dtir.registry, mmengine.registry.root)
    registries = tuple(value for module in modules for value in vars(module).values() if isinstance(value, Registry))
    for registry in registries:
        registry.import_from_location()
    return registries


def _keys_of(name: str) -> Keys:
    return frozenset().union(*(accepted_keys(found) or () for found in _find_type(name)))


def accepted_keys(target: Callable) -> Keys | None:
    """Returns the keyword arguments a class or function takes; None where it takes any.

    `**kwargs` of an `__init__` stands for the arguments of the next `__init__` among the base classes.
    """
    if not inspect.isclass(target):
        return None if _takes_any(target) else _parameters(target)
    keys: set[str] = set()
    forwards = False
    for cls in target.__mro__:
        if cls in (object, nn.Module):
            return None if forwards else frozenset(keys)
        if "__init__" not in vars(cls):
            continue
        keys |= _parameters(cls.__init__) - {"self"}
        forwards = _takes_any(cls.__init__)
        if not forwards:
            break
    return frozenset(keys)


def _parameters(function: Callable) -> Keys:
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return frozenset(name for name, value in inspect.signature(function).parameters.items() if value.kind in named)


def _takes_any(function: Callable) -> bool:
    return any(p.kind is inspect.Parameter.VAR_KEYWORD for p in inspect.signature(function).parameters.values())
