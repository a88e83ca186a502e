"""Forward processes, registered in `SCHEDULERS`."""

from dtir.diffusion.schedulers.base import Scheduler, trailing_steps
from dtir.diffusion.schedulers.bridge import Bridge, SDEBridge
from dtir.diffusion.schedulers.ddbm import DDBM
from dtir.diffusion.schedulers.ddpm import DDPMScheduler
from dtir.diffusion.schedulers.diffuir import ResidualDiffusion
from dtir.diffusion.schedulers.edm import EDMScheduler
from dtir.diffusion.schedulers.eedtp import EEDTPScheduler
from dtir.diffusion.schedulers.goub import GOUB
from dtir.diffusion.schedulers.i2sb import I2SB
from dtir.diffusion.schedulers.irsde import IRSDE, DenoisingSDE
from dtir.diffusion.schedulers.resshift import ResShift
from dtir.diffusion.schedulers.score_sde import VESDE, VPSDE, SDEScheduler
from dtir.diffusion.schedulers.straight import ColdDiffusion, InDI, RectifiedFlow, optimal_transport_pairs

__all__ = [
    "DDBM",
    "GOUB",
    "I2SB",
    "IRSDE",
    "VESDE",
    "VPSDE",
    "Bridge",
    "ColdDiffusion",
    "DDPMScheduler",
    "DenoisingSDE",
    "EDMScheduler",
    "EEDTPScheduler",
    "InDI",
    "RectifiedFlow",
    "ResShift",
    "ResidualDiffusion",
    "SDEBridge",
    "SDEScheduler",
    "Scheduler",
    "optimal_transport_pairs",
    "trailing_steps",
]
