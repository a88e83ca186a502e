"""A Gaussian prior over pictures of any size, with the power spectrum of photographs and its exact denoiser."""

import torch
from torch import Tensor

from dtir.diffusion.samplers import Denoiser
from dtir.diffusion.schedulers import Scheduler


class StationaryPrior:
    """N(0, spread^2) in every pixel of centred pictures, with a power that falls with the square of the frequency.

    Pixels far apart are nearly independent, neighbours nearly equal; the picture is a torus and its channels are
    independent. The denoiser is exact, so that what guidance loses with it is the guidance's own.

    Args:
        height: Height of the pictures.
        width: Width of the pictures.
        spread: Standard deviation of a pixel.
        corner: Frequency, in cycles per pixel, below which the power is flat.
    """

    def __init__(self, height: int, width: int, spread: float = 0.5, corner: float = 1 / 64) -> None:
        squared = torch.fft.fftfreq(height)[:, None] ** 2 + torch.fft.rfftfreq(width) ** 2
        power = 1 / (squared + corner**2)
        # Of a picture with independent pixels of unit variance, the power is 1 everywhere.
        impulse = torch.fft.irfft2(power.double(), (height, width))[0, 0]
        self.size, self.power = (height, width), power.double() * spread**2 / impulse

    def draw(self, n: int, seed: int = 0) -> Tensor:
        """Pictures (n, 3, height, width) of the prior, float64."""
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(n, 3, *self.size, generator=generator, dtype=torch.float64)
        return self._filtered(noise, self.power.sqrt())

    def denoiser(self, scheduler: Scheduler) -> Denoiser:
        """`(x_t, t) -> eps`, the exact expectation of the noise in states of one step each."""

        def eps(x: Tensor, t: Tensor) -> Tensor:
            a, sigma = scheduler.marginal(t[:1])
            return self._filtered(x, sigma / (a**2 * self.power.to(x) + sigma**2))

        return eps

    def _filtered(self, x: Tensor, gain: Tensor) -> Tensor:
        return torch.fft.irfft2(torch.fft.rfft2(x) * gain, self.size)
