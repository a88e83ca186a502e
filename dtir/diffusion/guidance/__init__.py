"""Training-free guidance, registered in `GUIDANCE`."""

from dtir.diffusion.guidance.base import GuidedSampler
from dtir.diffusion.guidance.decoupled import DAPS
from dtir.diffusion.guidance.gradient import DPS, MCG, PiGDM
from dtir.diffusion.guidance.projection import DDNM, DDRM, ILVR, RePaint
from dtir.diffusion.guidance.proximal import DiffPIR
from dtir.diffusion.guidance.variational import REDDiff

__all__ = ["DAPS", "DDNM", "DDRM", "DPS", "ILVR", "MCG", "DiffPIR", "GuidedSampler", "PiGDM", "REDDiff", "RePaint"]
