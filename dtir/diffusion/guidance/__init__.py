"""Training-free guidance, registered in `GUIDANCE`."""

from dtir.diffusion.guidance.base import GuidedSampler
from dtir.diffusion.guidance.gradient import DPS, MCG, PiGDM
from dtir.diffusion.guidance.projection import DDNM, DDRM, ILVR, RePaint

__all__ = ["DDNM", "DDRM", "DPS", "ILVR", "MCG", "GuidedSampler", "PiGDM", "RePaint"]
