"""Named ways of measuring: colour space, border, rounding, and which SSIM.

Published figures of one model differ by decibels between them, so every table names its protocol.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from dtir.evaluation.metrics.functional import rgb_to_y, ssim, ssim_3d, to_8_bit
from dtir.utils.errors import ConfigError


@dataclass(frozen=True)
class Protocol:
    """How a prediction and its GT are prepared before they are compared.

    Attributes:
        name: Name in configs and tables.
        luma: Compare BT.601 studio-range luma, not rounded, in place of RGB.
        crop: Pixels cut from every border.
        ssim: The SSIM that belongs to it.
    """

    name: str
    luma: bool = False
    crop: int = 0
    ssim: Callable[[Tensor, Tensor], Tensor] = ssim

    def prepare(self, picture: Tensor) -> Tensor:
        """RGB (N, 3, H, W) in [0, 1] to what is compared, float64: rounded to 8 bits, cropped, perhaps luma.

        Raises:
            ValueError: Nothing is left after the crop.
        """
        height, width = picture.shape[-2:]
        if min(height, width) <= 2 * self.crop:
            raise ValueError(
                f"protocol '{self.name}' crops {self.crop} pixels from every border; {height}x{width} is too small."
            )
        inner = to_8_bit(picture)[..., self.crop : height - self.crop, self.crop : width - self.crop]
        return rgb_to_y(inner) if self.luma else inner


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("rgb"),
        Protocol("rgb_crop4", crop=4),
        Protocol("y", luma=True),
        Protocol("y_crop4", luma=True, crop=4),
        Protocol("nafnet", ssim=ssim_3d),
        Protocol("nafnet_y", luma=True, ssim=ssim_3d),
    )
}


def get_protocol(name: str) -> Protocol:
    """The protocol of a name.

    Raises:
        ConfigError: The name is unknown.
    """
    if name not in PROTOCOLS:
        near = difflib.get_close_matches(name, PROTOCOLS, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise ConfigError(f"unknown measuring protocol '{name}'.{hint} Known: {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]
