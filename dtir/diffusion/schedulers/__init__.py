"""Forward processes, registered in `SCHEDULERS`."""

from dtir.diffusion.schedulers.base import Scheduler, trailing_steps
from dtir.diffusion.schedulers.ddpm import DDPMScheduler

__all__ = ["DDPMScheduler", "Scheduler", "trailing_steps"]
