"""Forward processes, registered in `SCHEDULERS`."""

from dtir.diffusion.schedulers.base import Scheduler, trailing_steps
from dtir.diffusion.schedulers.bridge import Bridge, SDEBridge
from dtir.diffusion.schedulers.ddpm import DDPMScheduler
from dtir.diffusion.schedulers.goub import GOUB
from dtir.diffusion.schedulers.i2sb import I2SB
from dtir.diffusion.schedulers.irsde import IRSDE, DenoisingSDE
from dtir.diffusion.schedulers.resshift import ResShift

__all__ = [
    "GOUB",
    "I2SB",
    "IRSDE",
    "Bridge",
    "DDPMScheduler",
    "DenoisingSDE",
    "ResShift",
    "SDEBridge",
    "Scheduler",
    "trailing_steps",
]
