"""Degradations that are not linear, for guidance that needs no more than their gradient (DPS).

JPEG is in `jpeg.py`.
"""

from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.domain import to_centred, to_image
from dtir.diffusion.operators.base import Operator, straight_through
from dtir.diffusion.operators.blur import CircularBlur, gaussian_kernel
from dtir.registry import OPERATORS

# Light below it counts as this much, half a level of 8 bits: the slope of the camera's response is infinite at 0.
LEAST_LIGHT = 1e-6


@OPERATORS.register_module()
class HDR(Operator):
    """High dynamic range: an overexposed picture, `clip(scale x, -1, 1)` on centred pictures.

    With `scale` 2 it is the task of Mardani et al. (RED-diff, ICLR 2024) and Zhang et al. (DAPS, CVPR 2025).

    Args:
        scale: Exposure.

    Raises:
        ConfigError: `scale` is not positive.
    """

    def __init__(self, scale: float = 2.0) -> None:
        if scale <= 0:
            raise ConfigError(f"HDR: scale={scale} must be positive.")
        super().__init__()
        self.scale = scale

    @override
    def A(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1]; the gradient passes through the clipping as if there were none.

        A wrongly saturated estimate is corrected so; where the measurement is saturated too, there is no misfit."""
        exposed = self.scale * x
        return straight_through(exposed, exposed.clamp(-1, 1))


@OPERATORS.register_module()
class GammaBlur(Operator):
    """Blur as a camera sees it: of light, which is then clipped and made a picture by the camera's response.

    `picture -> ^gamma -> exposure x blur -> clip to 1 -> ^(1/gamma)`, the border repeated. It stands where DPS (Chung
    et al., ICLR 2023) has "nonlinear deblurring", whose kernels come from a trained network (Tran et al., CVPR 2021)
    that is not part of this package; it is not that operator and gives other figures.

    Args:
        sigma: Standard deviation of the Gaussian kernel in pixels.
        side: Its side in pixels, odd.
        gamma: Exponent of the response.
        exposure: By how much light is multiplied; above 1, bright parts saturate.

    Raises:
        ConfigError: A number is not positive, or `side` is even.
    """

    def __init__(self, sigma: float = 2.0, side: int = 13, gamma: float = 2.2, exposure: float = 1.5) -> None:
        if min(sigma, side, gamma, exposure) <= 0 or not side % 2:
            raise ConfigError(
                f"GammaBlur: sigma={sigma}, side={side}, gamma={gamma} and exposure={exposure} must be positive, and "
                "side odd."
            )
        super().__init__()
        self.gamma, self.exposure = gamma, exposure
        self.border = side // 2
        # Round the border of the padded picture, which is cut off.
        self.blur = CircularBlur(gaussian_kernel(sigma, side), threshold=0)

    @override
    def A(self, x: Tensor) -> Tensor:
        """(B, C, H, W) in [-1, 1]; the gradient passes through the clipping of light.

        Values below -1, darker than black, give no light, and the gradient of the response continued below it."""
        exposed = self.exposure * self._blurred(self._light(to_image(x)))
        seen = straight_through(exposed, exposed.clamp(LEAST_LIGHT, 1))
        return to_centred(seen ** (1 / self.gamma))

    def _light(self, picture: Tensor) -> Tensor:
        continued = picture.sign() * picture.abs() ** self.gamma
        return straight_through(continued, continued.clamp(min=0))

    def _blurred(self, light: Tensor) -> Tensor:
        height, width = light.shape[-2:]
        bottom, right = (fast_length(side + 2 * self.border) - side - self.border for side in (height, width))
        padded = F.pad(light, (self.border, right, self.border, bottom), mode="replicate")
        return self.blur.A(padded)[..., self.border : self.border + height, self.border : self.border + width]


def fast_length(n: int) -> int:
    """The smallest number from n on without prime factors above 5, for which a Fourier transform is fast."""
    rest = n
    for prime in (2, 3, 5):
        while rest % prime == 0:
            rest //= prime
    return n if rest == 1 else fast_length(n + 1)
