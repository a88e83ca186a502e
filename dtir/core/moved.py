"""Old names of modules, so that a config's `custom_imports` and people's own code written against them still run."""

import importlib
import sys
import warnings
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

_BACKBONES = "dtir.models.backbones"
_IMAGE = (
    "airnet dehazeformer dtir_unet enlightengan griddehazenet latent_unet maxim mirnet mprnet nafnet prenet promptir "
    "ram_swinir restormer uretinex x_restormer"
)
_CONDITIONAL = "conditional_nafnet conditional_unet daclip_unet diffuir_unet resshift_unet"
_PARTS = "deform_conv layers maxim_layers pictures time_unet window_attention"

MOVED = {
    "dtir.apis.adaptation_files": "dtir.apis.adaptation.files",
    "dtir.apis.cluster": "dtir.apis.archive.cluster",
    "dtir.apis.model_files": "dtir.apis.models.files",
    "dtir.engine.checkpoint": "dtir.core.checkpoint",
    "dtir.evaluation.protocols": "dtir.evaluation.metrics.protocols",
    "dtir.models.adapters.folding": "dtir.models.folding",
    "dtir.utils.atomic": "dtir.core.atomic",
    "dtir.utils.complexity": "dtir.measure.complexity",
    "dtir.utils.config_check": "dtir.config.check",
    "dtir.utils.config_files": "dtir.config.files",
    "dtir.utils.errors": "dtir.core.errors",
    "dtir.utils.image_format": "dtir.imaging.formats",
    "dtir.utils.image_io": "dtir.imaging.files",
    "dtir.utils.launch": "dtir.cli.launching",
    "dtir.utils.memory": "dtir.measure.memory",
    "dtir.utils.precision": "dtir.models.precision",
    "dtir.utils.seeding": "dtir.core.seeding",
    "dtir.utils.self_ensemble": "dtir.imaging.self_ensemble",
    "dtir.utils.tiling": "dtir.imaging.tiling",
    "dtir.utils.timing": "dtir.measure.timing",
} | {
    f"{_BACKBONES}.{name}": f"{_BACKBONES}.{room}.{name}"
    for room, names in (("image", _IMAGE), ("conditional", _CONDITIONAL), ("parts", _PARTS))
    for name in names.split()
}
# A package that is gone; its old sub-modules are found through it.
GONE = "dtir.utils"


class MovedModules(MetaPathFinder, Loader):
    """Finds a module under its old name: the module at the new one, with a line that says so."""

    def find_spec(self, fullname: str, path: object = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """The spec of an old name, None for any other."""
        if fullname != GONE and fullname not in MOVED:
            return None
        return ModuleSpec(fullname, self, is_package=fullname == GONE)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """The module at the new name; None, which makes an empty one, for the package that is gone."""
        if spec.name == GONE:
            return None
        new = MOVED[spec.name]
        warnings.warn(f"{spec.name} is now {new}; the old name goes with the next release.", FutureWarning, 2)
        module = importlib.import_module(new)
        self._spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is run twice; the import system has put the old spec on the module, which keeps its own."""
        if module.__name__ != GONE:
            module.__spec__ = self._spec
            sys.modules[module.__name__] = module


def find_moved_modules() -> None:
    """Has imports find the old names; asked last, after the modules that exist."""
    sys.meta_path.append(MovedModules())
