"""Strict checking of configs: every key and every value against what reads it, before anything is built.

mmengine ignores a key that nobody reads, so that a mistyped one does nothing, and meets a wrong value deep in a run.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import FunctionType
from typing import Literal

import torch
from mmengine.config import Config
from mmengine.registry import Registry
from mmengine.runner import Runner
from mmengine.utils import import_modules_from_strings
from torch.utils.data import DataLoader

import dtir.registry
from dtir.config.arguments import Argument, Arguments, arguments_of
from dtir.config.families import EVALUATORS, family_of, find_type, type_problem
from dtir.config.values import misfit, shown
from dtir.core.errors import ConfigError
from dtir.core.names import did_you_mean
from dtir.core.ranges import Positive, PositiveInt, Seed

Keys = frozenset[str]
Family = tuple[Registry, ...]

# What Config and Registry read themselves.
SYNTAX_KEYS = frozenset({"_scope_", "_delete_"})
# What is read of the top level beside the arguments of the runner.
TOP_LEVEL = {
    "runner_type": Argument(str, required=False),
    "custom_imports": Argument(dict, required=False),
    "model_wrapper_cfg": Argument(dict, required=False),
    "compile": Argument(bool | Mapping, required=False),
}
# What is read of a section without a class, beside the arguments of the function that takes most of it.
LOADER = {
    "dataset": Argument(dict, required=True),
    "sampler": Argument(Mapping | None, required=False),
    "batch_sampler": Argument(Mapping | None, required=False),
    "collate_fn": Argument(FunctionType | Mapping | None, required=False),
    "batch_size": Argument(PositiveInt, required=False),
    "num_batch_per_epoch": Argument(PositiveInt, required=False),
    "disable_subprocess_warning": Argument(bool, required=False),
}
TRAIN_LOADER = {**LOADER, "batch_size": Argument(PositiveInt, required=True)}
ENVIRONMENT = {
    "cudnn_benchmark": Argument(bool, required=False),
    "mp_cfg": Argument(dict, required=False),
    "dist_cfg": Argument(dict, required=False),
    "resource_limit": Argument(PositiveInt, required=False),
}
# What is read of the dicts in `env_cfg`.
ENVIRONMENT_DICTS = {
    "mp_cfg": {
        "mp_start_method": Argument(Literal["fork", "spawn", "forkserver"], required=False),
        "opencv_num_threads": Argument(int, required=False),
    },
    "dist_cfg": {
        "backend": Argument(str, required=False),
        "init_backend": Argument(Literal["torch"], required=False),
        "timeout": Argument(Positive, required=False),
    },
}
AUTO_SCALE = {"base_batch_size": Argument(PositiveInt, required=True), "enable": Argument(bool, required=False)}
IMPORTS = {
    "imports": Argument(list[str] | str, required=True),
    "allow_failed_imports": Argument(bool, required=False),
}
# Keys that the runner takes out of a dict before the class sees it.
RUNNER_KEYS = {
    "optim_wrapper": frozenset({"constructor", "paramwise_cfg"}),
    "param_scheduler": frozenset({"convert_to_iter_based"}),
    "default_hooks": frozenset({"priority"}),
    "custom_hooks": frozenset({"priority"}),
}
# The class of a section that does not name one.
DEFAULT_TYPES = {
    "optim_wrapper": "StagedOptimWrapper",
    "log_processor": "LogProcessor",
    "val_cfg": "ValLoop",
    "test_cfg": "RecordedTestLoop",
}
# Arguments that come from the code that builds a part, not from its config.
GIVEN = frozenset(
    {"runner", "dataloader", "evaluator", "params", "prompt_dim", "channels", "in_channels", "out_channels"}
)
# What the runner hands to loops, samplers and optimisers, and no config.
FROM_THE_RUNNER = frozenset({"runner", "dataloader", "evaluator", "dataset", "params"})
RUN_WITH = (dtir.registry.LOOPS, dtir.registry.DATA_SAMPLERS, dtir.registry.OPTIMIZERS)
PLAIN = (str, int, float, bool, bytes, type(None))


@dataclass(frozen=True)
class Schema:
    """What a runner reads beside the arguments of registered classes.

    Attributes:
        default_hooks: Class name of the hook that each name in `default_hooks` stands for.
        stage: Dataclass of a dict in `train_cfg.stages`, with a `from_config` that raises `ConfigError`; None where
            stages are not checked.
    """

    default_hooks: Mapping[str, str] = field(default_factory=dict)
    stage: type | None = None


@dataclass(frozen=True)
class Place:
    """Where in a config a value stands.

    Attributes:
        section: The top-level key.
        family: Registries of the part that the value is, or of those in its list; none where it is no part.
        extra: Keys that such a part may have beside the arguments of its class, as what builds it reads them: its
            `keys_of_parts`.
        given: Arguments that such a part gets from what builds it: its `given_to_parts`, and `GIVEN`.
    """

    section: str
    family: Family = ()
    extra: Keys = frozenset()
    given: Keys = GIVEN


def check_config(cfg: Config, schema: Schema, filename: str | None = None) -> None:
    """Checks every key and value of a config against what reads it.

    Top-level keys are those of the runner, or begin with an underscore (values that a config reuses). A dict with
    `type` may hold the arguments of that class, followed through `**kwargs` into its base classes, and must hold
    those without a default; a class that takes any keyword may have further ones. Values must fit the annotations of
    these arguments (`dtir.config.values`). Dataloaders, stages and the other parts without a class are checked too.

    Args:
        cfg: The config; its `custom_imports` are imported first.
        schema: What the runner of the config reads.
        filename: The name in the message; by default that of the config.

    Raises:
        ConfigError: Unknown keys or types, missing keys, or values that do not fit. The message names each by its
            dotted path, with the nearest valid key or what is expected.
    """
    imports = cfg.get("custom_imports")
    if isinstance(imports, Mapping) and not list(_arguments(imports, "custom_imports", _fixed("custom_imports"))):
        _import(imports)
    place = filename or cfg.filename or "config"
    try:
        problems = list(_top_level(cfg, schema))
    except ImportError as error:
        # mmengine imports what a config imports when its value is asked for.
        raise ConfigError(f"{place}: {error}. It must be installed or be on PYTHONPATH.") from error
    if problems:
        raise ConfigError(f"{place}: " + "\n".join(problems))


def _import(imports: Mapping) -> None:
    try:
        import_modules_from_strings(**imports)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"custom_imports: {error}") from error


def part_problems(node: Mapping, path: str, target: Callable, given: Keys = GIVEN) -> list[str]:
    """What is wrong with the arguments that a config gives a class: unknown and missing keys, and values.

    Args:
        node: The arguments, with or without `type`.
        path: Dotted path of the dict, for the messages.
        target: The class or function.
        given: Names of arguments that are not missing where they are not in `node`.
    """
    return list(_arguments(node, path, arguments_of(target), given=given, owner=f" of {target.__name__}"))


def _top_level(cfg: Config, schema: Schema) -> Iterator[str]:
    named = {**arguments_of(Runner).named, **TOP_LEVEL}
    del named["cfg"]
    public = {key: cfg[key] for key in cfg if not key.startswith("_")}
    advice = " A value for reuse inside a config needs a leading underscore."
    yield from _arguments(public, "", Arguments(named, False), given=frozenset(named), advice=advice)
    if not find_type(cfg.get("runner_type", "Runner"), (dtir.registry.RUNNERS,)):
        yield type_problem(cfg.runner_type, "runner_type", (dtir.registry.RUNNERS,)).replace(".type", "")
    scope = cfg.get("default_scope", "dtir")
    if isinstance(scope, str) and not (scope.isidentifier() and find_spec(scope)):
        yield f"default_scope is {scope!r}; expected 'dtir', or an installed package with registries of its own."
    for key, value in public.items():
        if key in named and not _unfit(value, key, named[key]):
            yield from _section(key, value, schema)


def _section(key: str, value: object, schema: Schema) -> Iterator[str]:
    fixed = _fixed(key)
    if fixed is not None and isinstance(value, dict):
        yield from _arguments(value, key, fixed)
    elif isinstance(value, dict) and "type" not in value and key in DEFAULT_TYPES:
        yield from _of_default_type(value, key, DEFAULT_TYPES[key], RUNNER_KEYS.get(key, frozenset()))
    elif isinstance(value, dict) and "type" not in value and family_of(key, key) and key != "default_hooks":
        yield f"{key} has no 'type', the name of its class."
    elif key in EVALUATORS and not value and value is not None:
        yield f"{key} is empty; expected at least one metric, dict(type='PSNR') for example."
    if key == "env_cfg" and isinstance(value, dict):
        yield from _environment(value)
    if key == "default_hooks" and isinstance(value, dict):
        yield from _default_hooks(value, schema.default_hooks)
    if key == "train_cfg" and isinstance(value, dict):
        yield from _stages(value.get("stages", ()), schema.stage)
    yield from _walk(value, key, Place(key, family_of(key, key), RUNNER_KEYS.get(key, frozenset())))


def _fixed(section: str) -> Arguments | None:
    if section.endswith("_dataloader"):
        own = TRAIN_LOADER if section == "train_dataloader" else LOADER
        return Arguments({**arguments_of(DataLoader).named, **own}, False)
    if section == "randomness":
        seed = {"seed": Argument(Seed | None, required=True)}
        named = {**arguments_of(Runner.set_randomness).named, **seed}
        del named["self"]
        return Arguments(named, False)
    if section == "compile":
        named = {**arguments_of(torch.compile).named, "blocks": Argument(bool, required=False)}
        del named["model"]
        return Arguments(named, False)
    own = {"env_cfg": ENVIRONMENT, "auto_scale_lr": AUTO_SCALE, "custom_imports": IMPORTS}.get(section)
    return None if own is None else Arguments(own, False)


def _environment(value: dict) -> Iterator[str]:
    for name, known in ENVIRONMENT_DICTS.items():
        if isinstance(value.get(name), dict):
            # What a backend takes of its own, nobody knows here.
            yield from _arguments(value[name], f"env_cfg.{name}", Arguments(known, any_keyword=name == "dist_cfg"))


def _default_hooks(hooks: dict, types: Mapping[str, str]) -> Iterator[str]:
    for name, hook in hooks.items():
        if not isinstance(hook, dict) or "type" in hook:
            continue
        if name in types:
            extra = RUNNER_KEYS["default_hooks"]
            yield from _of_default_type(hook, f"default_hooks.{name}", types[name], extra)
        else:
            yield from _unknown_keys([name], frozenset(types), "default_hooks", advice=" Another name needs a type.")


def _of_default_type(node: dict, path: str, kind: str, extra: Keys) -> Iterator[str]:
    for found in find_type(kind)[:1]:
        yield from _arguments(node, path, arguments_of(found), extra, GIVEN)


def _stages(stages: object, stage: type | None) -> Iterator[str]:
    if stage is None or not isinstance(stages, (list, tuple)):
        return
    for index, config in enumerate(stages):
        if isinstance(config, dict):
            yield from _stage(config, f"train_cfg.stages[{index}]", stage)


def _stage(config: dict, path: str, stage: type) -> Iterator[str]:
    problems = list(_arguments(config, path, arguments_of(stage)))
    yield from problems
    if problems:
        return
    try:
        # What one value says of another is for the stage itself to check.
        stage.from_config(config)
    except ConfigError as error:
        yield f"{path}: {error}"


def _walk(node: object, path: str, place: Place) -> Iterator[str]:
    """Checks a value of the config at a dotted path, and all parts in it."""
    if isinstance(node, dict):
        yield from _walk_dict(node, path, place)
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            if place.family and isinstance(value, dict) and "type" not in value:
                yield f"{path}[{index}] has no 'type', the name of its class."
            yield from _walk(value, f"{path}[{index}]", place)
    elif not isinstance(node, PLAIN) and not _importable(node):
        yield (
            f"{path} is {shown(node)}; expected a text, number, list or dict, or a class or function that can be "
            "imported by its name (no lambda): a checkpoint holds the config, and must be read elsewhere."
        )


def _walk_dict(node: dict, path: str, place: Place) -> Iterator[str]:
    if path == "default_hooks":
        for name, hook in node.items():
            yield from _walk(hook, f"{path}.{name}", place)
        return
    targets = []
    if "type" in node:
        targets = find_type(node["type"], place.family)
        yield from _typed_dict(node, path, place, targets)
    # Of a class of somebody else's, a key may mean anything.
    named = bool(targets) or path == place.section
    named &= all(str(target.__module__).startswith(("dtir.", "mmengine.")) for target in targets)
    given = GIVEN.union(*(getattr(target, "given_to_parts", ()) for target in targets))
    for key, value in node.items():
        extra = frozenset().union(*(getattr(target, "keys_of_parts", {}).get(key, ()) for target in targets))
        inner = Place(place.section, family_of(key, place.section) if named else (), extra, given)
        if inner.family and isinstance(value, dict) and "type" not in value:
            yield f"{path}.{key} has no 'type', the name of its class."
        yield from _walk(value, f"{path}.{key}", inner)


def _importable(value: object) -> bool:
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    return name is not None and getattr(sys.modules.get(module), name, None) is value


def _typed_dict(node: dict, path: str, place: Place, targets: Sequence[Callable]) -> Iterator[str]:
    if not targets:
        yield type_problem(node["type"], path, place.family)
        return
    yield from min((list(_of_class(node, path, place, target)) for target in targets), key=len)


def _of_class(node: dict, path: str, place: Place, target: Callable) -> Iterator[str]:
    arguments = arguments_of(target)
    taken = FROM_THE_RUNNER if place.family and place.family[0] in RUN_WITH else frozenset()
    named = {key: argument for key, argument in arguments.named.items() if key not in taken}
    arguments = Arguments(named, arguments.any_keyword)
    # Classes of mmengine and torch get more from their builders than is listed here.
    own = not str(target.__module__).startswith(("mmengine.", "torch.", "mmcv."))
    given = place.given if own else frozenset(arguments.named)
    owner = f" of {shown_type(node['type'])}"
    yield from _arguments(node, path, arguments, place.extra | {"type"}, given, owner)


def _arguments(
    node: Mapping,
    path: str,
    arguments: Arguments,
    extra: Keys = frozenset(),
    given: Keys = frozenset(),
    owner: str = "",
    advice: str = "",
) -> Iterator[str]:
    """What is wrong with a dict of arguments: unknown keys, values that do not fit, and what is missing."""
    known = frozenset(arguments.named) | extra
    unknown = [] if arguments.any_keyword else list(_unknown_keys(node, known, path, owner, advice))
    yield from unknown
    for key, value in node.items():
        if key in arguments.named and key not in SYNTAX_KEYS:
            yield from _unfit(value, f"{path}.{key}" if path else key, arguments.named[key])
    required = [key for key, argument in arguments.named.items() if argument.required and key not in given]
    missing = [key for key in required if key not in node]
    # A mistyped key is also a missing one.
    if missing and not unknown:
        yield f"{path}: missing {', '.join(missing)}{owner}."


def _unfit(value: object, path: str, argument: Argument) -> list[str]:
    found = misfit(value, argument.kind, path)
    return [] if found is None else [str(found)]


def _unknown_keys(keys: Iterable[str], known: Keys, path: str, owner: str = "", advice: str = "") -> Iterator[str]:
    for key in keys:
        if key in known or key in SYNTAX_KEYS:
            continue
        dotted = f"{path}.{key}" if path else key
        valid = ", ".join(sorted(known)) or "none"
        yield f"unknown key '{dotted}'.{did_you_mean(key, known)}{advice} Valid keys{owner}: {valid}."


def shown_type(kind: object) -> str:
    """The name of a `type`, which may be a class."""
    return kind if isinstance(kind, str) else getattr(kind, "__name__", repr(kind))


def accepted_keys(target: Callable) -> Keys | None:
    """Returns the keyword arguments a class or function takes; None where it takes any."""
    arguments = arguments_of(target)
    return None if arguments.any_keyword else frozenset(arguments.named)
