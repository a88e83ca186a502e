"""The registries of dtir, all of scope `dtir`.

Where mmengine knows the family, ours is a child of mmengine's, so `Runner` builds our classes from a config and a
config may name mmengine's. The families that mmengine does not know (backbones of restoration networks, diffusion
schedulers, ...) are roots; mmengine allows one child per parent and scope, so they cannot all hang under `MODELS`.
"""

from mmengine import registry as mm
from mmengine.registry import Registry

SCOPE = "dtir"


def _registry(name: str, location: str, parent: Registry | None = None) -> Registry:
    return Registry(name, parent=parent, scope=SCOPE, locations=[location])


RESTORERS = _registry("restorer", "dtir.models", mm.MODELS)
DATASETS = _registry("dataset", "dtir.datasets", mm.DATASETS)
DATA_SAMPLERS = _registry("data sampler", "dtir.datasets", mm.DATA_SAMPLERS)
TRANSFORMS = _registry("transform", "dtir.datasets", mm.TRANSFORMS)
METRICS = _registry("metric", "dtir.evaluation", mm.METRICS)
HOOKS = _registry("hook", "dtir.engine", mm.HOOKS)
LOOPS = _registry("loop", "dtir.engine", mm.LOOPS)
RUNNERS = _registry("runner", "dtir.engine", mm.RUNNERS)
OPTIMIZERS = _registry("optimizer", "dtir.engine", mm.OPTIMIZERS)
OPTIM_WRAPPER_CONSTRUCTORS = _registry("optimizer wrapper constructor", "dtir.engine", mm.OPTIM_WRAPPER_CONSTRUCTORS)
VISBACKENDS = _registry("visualizer backend", "dtir.engine", mm.VISBACKENDS)
VISUALIZERS = _registry("visualizer", "dtir.engine", mm.VISUALIZERS)
OPTIM_WRAPPERS = _registry("optim wrapper", "dtir.engine", mm.OPTIM_WRAPPERS)

REGULARIZERS = _registry("regularizer", "dtir.regularizers")
BACKBONES = _registry("backbone", "dtir.models")
CODECS = _registry("codec", "dtir.models")
CONDITIONING = _registry("conditioning", "dtir.models")
TEXT_ENCODERS = _registry("text encoder", "dtir.models")
ADAPTERS = _registry("adapter", "dtir.models")
LOSSES = _registry("loss", "dtir.models")
SCHEDULERS = _registry("diffusion scheduler", "dtir.diffusion")
SAMPLERS = _registry("diffusion sampler", "dtir.diffusion")
LEVELS = _registry("conditioning level", "dtir.diffusion")
OPERATORS = _registry("operator", "dtir.diffusion.operators")
GUIDANCE = _registry("guidance", "dtir.diffusion.guidance")
DEGRADATIONS = _registry("degradation", "dtir.datasets")
