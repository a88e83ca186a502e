"""Which registry a part of a config is built from, and what a `type` means there."""

from collections.abc import Callable, Iterable
from functools import cache

import mmengine.registry.root as mm
from mmengine.registry import Registry
from mmengine.utils import get_object_from_string

import dtir.registry as own
from dtir.core.names import did_you_mean

SCOPES = ("", own.SCOPE, "mmengine")

# By the key that holds the part, or the list of parts; the runner and the classes of dtir give them these names.
FAMILIES = {
    "model": own.RESTORERS,
    "train_cfg": own.LOOPS,
    "val_cfg": own.LOOPS,
    "test_cfg": own.LOOPS,
    "optim_wrapper": own.OPTIM_WRAPPERS,
    "optimizer": own.OPTIMIZERS,
    "default_hooks": own.HOOKS,
    "custom_hooks": own.HOOKS,
    "regularizers": own.REGULARIZERS,
    "visualizer": own.VISUALIZERS,
    "vis_backends": own.VISBACKENDS,
    "log_processor": mm.LOG_PROCESSORS,
    "dataset": own.DATASETS,
    "datasets": own.DATASETS,
    "collate_fn": mm.FUNCTIONS,
    "pipeline": own.TRANSFORMS,
    "eval_pipeline": own.TRANSFORMS,
    "degradation": own.DEGRADATIONS,
    "network": own.CONDITIONING,
    "backbone": own.BACKBONES,
    "codec": own.CODECS,
    "adapter": own.ADAPTERS,
    "scheduler": own.SCHEDULERS,
    "sampling_scheduler": own.SCHEDULERS,
    "level": own.LEVELS,
    "loss": own.LOSSES,
    "losses": own.LOSSES,
    "restoration_loss": own.LOSSES,
    "generative_loss": own.LOSSES,
    "operator": own.OPERATORS,
    "guidance": own.GUIDANCE,
}
EVALUATORS = ("val_evaluator", "test_evaluator")


def family_of(key: str, section: str) -> tuple[Registry, ...]:
    """Registries of the part under a key of the runner's or of a class of dtir; none where it is no part.

    Args:
        key: The key.
        section: The top-level key that it belongs to.
    """
    if key in EVALUATORS:
        return (own.METRICS, mm.EVALUATOR)
    if key == "sampler":
        return (own.DATA_SAMPLERS,) if section.endswith("_dataloader") else (own.SAMPLERS,)
    return (FAMILIES[key],) if key in FAMILIES else ()


def find_type(name: object, family: Iterable[Registry] = ()) -> list[Callable]:
    """Everything that a `type` may mean in a family; in all registries, of which several may know a name, without."""
    if not isinstance(name, str):
        return [name] if callable(name) else []
    scope, _, bare = name.rpartition(".")
    if scope not in SCOPES:
        found = get_object_from_string(name)
        return [found] if callable(found) else []
    found = [known[bare] for known in _known_types(tuple(family)) if bare in known]
    return list(dict.fromkeys(found))


def type_problem(name: object, path: str, family: tuple[Registry, ...]) -> str:
    """Says that a `type` is not known in a family, or not at all."""
    names = {known for types in _known_types(family) for known in types}
    hint = did_you_mean(str(name).rpartition(".")[2], names)
    if family and find_type(name):
        known = ", ".join(sorted(family[0].module_dict))
        return f"{path}.type: '{name}' is no {family[0].name}.{hint} Known: {known}."
    return (
        f"{path}.type: '{name}' is not registered.{hint} A class of your own "
        "needs its module in custom_imports = dict(imports=['your_module'])."
    )


def _known_types(family: tuple[Registry, ...]) -> list[dict]:
    parents = [registry.parent for registry in family if registry.parent is not None]
    return [registry.module_dict for registry in (*family, *parents) or registries()]


@cache
def registries() -> tuple[Registry, ...]:
    """All registries of dtir and mmengine, filled."""
    found = tuple(value for module in (own, mm) for value in vars(module).values() if isinstance(value, Registry))
    for registry in found:
        registry.import_from_location()
    return found
