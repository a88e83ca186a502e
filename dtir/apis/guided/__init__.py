"""Restoring with an unconditional denoiser and a known operator, from Python and with files."""

from typing import TYPE_CHECKING

from dtir.core.lazy import lazy_names

if TYPE_CHECKING:
    from dtir.apis.guided.restorer import GuidedRestorer, guided_settings

__all__ = ["GuidedRestorer", "guided_settings"]

_PLACES = {
    "GuidedRestorer": "dtir.apis.guided.restorer",
    "guided_settings": "dtir.apis.guided.restorer",
}

__getattr__ = lazy_names(__name__, _PLACES)
