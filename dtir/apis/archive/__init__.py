"""Many picture files restored: which, in how many processes or machines, and the log of it."""

from typing import TYPE_CHECKING

from dtir.core.lazy import lazy_names

if TYPE_CHECKING:
    from dtir.apis.archive.archive import ArchiveOptions
    from dtir.apis.archive.cluster import Cluster
    from dtir.apis.archive.folder import RestoreReport
    from dtir.apis.archive.share import Share

__all__ = ["ArchiveOptions", "Cluster", "RestoreReport", "Share"]

_PLACES = {
    "ArchiveOptions": "dtir.apis.archive.archive",
    "Cluster": "dtir.apis.archive.cluster",
    "RestoreReport": "dtir.apis.archive.folder",
    "Share": "dtir.apis.archive.share",
}

__getattr__ = lazy_names(__name__, _PLACES)
