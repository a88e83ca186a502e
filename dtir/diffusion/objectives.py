"""The generative half of the method's two objectives (Lu et al., arXiv 2506.21722, Algorithm 1)."""

from torch import Tensor

from dtir.diffusion.domain import to_centred, to_image
from dtir.diffusion.schedulers.base import Scheduler


def generative_pair(gt: Tensor, eps: Tensor, t: Tensor, scheduler: Scheduler) -> Tensor:
    """Noises clean pictures to step t; the residual that a network has to find in the result is `eps`.

    Args:
        gt: Clean pictures (B, 3, H, W) in [0, 1].
        eps: Standard normal noise of the same shape.
        t: Steps (B,), integers in 0..T.
        scheduler: The forward process.

    Returns:
        `x_t` in image units (B, 3, H, W): `to_image(a_t to_centred(gt) + sigma_t eps)`. Not clipped to [0, 1].
    """
    return to_image(scheduler.add_noise(to_centred(gt), eps, t))
