"""Published settings of all registered networks, collected from their `PUBLISHED`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import nn

from dtir.registry import BACKBONES

from .traits import Published


@dataclass(frozen=True)
class ZooEntry(Published):
    """A published setting with the class it belongs to.

    Attributes:
        network: Registered name of the class.
    """

    network: str = ""

    @property
    def backbone(self) -> dict:
        """Config of the network."""
        return {"type": self.network, **self.settings}


class Zoo(Mapping[str, ZooEntry]):
    """Published settings by name. A network that is registered later, one's own too, is in it from then on."""

    def __getitem__(self, name: str) -> ZooEntry:
        return self._collected()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._collected())

    def __len__(self) -> int:
        return len(self._collected())

    def _collected(self) -> dict[str, ZooEntry]:
        # A subclass inherits the attribute, but has published settings only of its own.
        return {
            name: ZooEntry(**vars(entry), network=kind.__name__)
            for kind in registered_networks()
            for name, entry in vars(kind).get("PUBLISHED", {}).items()
        }


def registered_networks() -> list[type[nn.Module]]:
    """The registered classes, each once, whatever names it has."""
    return list(dict.fromkeys(kind for kind in BACKBONES.module_dict.values() if isinstance(kind, type)))


ZOO = Zoo()
