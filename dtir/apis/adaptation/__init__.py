"""Teaching a trained network a new kind of damage, and what that leaves."""

from typing import TYPE_CHECKING

from dtir.core.lazy import lazy_names

if TYPE_CHECKING:
    from dtir.apis.adaptation.files import save_adapted, write_adaptation_report
    from dtir.apis.adaptation.settings import AdaptationSettings
    from dtir.apis.adaptation.teaching import Adaptation, adapt

__all__ = ["Adaptation", "AdaptationSettings", "adapt", "save_adapted", "write_adaptation_report"]

_PLACES = {
    "Adaptation": "dtir.apis.adaptation.teaching",
    "AdaptationSettings": "dtir.apis.adaptation.settings",
    "adapt": "dtir.apis.adaptation.teaching",
    "save_adapted": "dtir.apis.adaptation.files",
    "write_adaptation_report": "dtir.apis.adaptation.files",
}

__getattr__ = lazy_names(__name__, _PLACES)
