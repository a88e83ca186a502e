"""Named ways of measuring: colour space, border, rounding, and which SSIM.

Published figures of one model differ by decibels between them, so every table names its protocol.

| protocol | compared | who measures so |
|---|---|---|
| rgb | RGB, 8 bits | the paper (default); Restormer for blur, X-Restormer for most tasks |
| rgb_crop4 | the same, 4 px cut from each border | RAM; IR-SDE |
| y | luma of the 8-bit picture, not rounded | DiffUIR; X-Restormer for rain |
| y_crop4 | the same, 4 px cut | IR-SDE; X-Restormer for super-resolution |
| y_8bit | luma rounded to 8 bits, as MATLAB's rgb2ycbcr returns | Restormer for rain; NIQE |
| y_8bit_crop4 | the same, 4 px cut | NIQE of super-resolution |
| nafnet, nafnet_crop4, nafnet_y, nafnet_y_crop4 | as rgb, ..., with SSIM's window over the channels too | NAFNet |
| skimage | RGB, clipped but not rounded; SSIM with a uniform 7x7 window | AirNet, PromptIR |
| dehazeformer | RGB, clipped but not rounded; SSIM after pooling by round(min(H, W) / 256) | DehazeFormer |
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from dtir.core.errors import ConfigError
from dtir.core.names import did_you_mean
from dtir.evaluation.metrics.functional import rgb_to_y, ssim, ssim_3d, ssim_downsampled, ssim_uniform, to_8_bit


@dataclass(frozen=True)
class Protocol:
    """How a prediction and its GT are prepared before they are compared.

    Attributes:
        name: Name in configs and tables.
        luma: Compare BT.601 studio-range luma in place of RGB.
        crop: Pixels cut from every border.
        round_rgb: Round RGB to 8 bits first, as a saved picture is; otherwise only clip it.
        round_luma: Round luma to 8 bits.
        ssim: The SSIM that belongs to it.
    """

    name: str
    luma: bool = False
    crop: int = 0
    round_rgb: bool = True
    round_luma: bool = False
    ssim: Callable[[Tensor, Tensor], Tensor] = ssim

    def describe(self) -> str:
        """What is compared, in words, as tables print it."""
        rounding = "rounded to 8 bits" if self.round_rgb else "not rounded"
        parts = [f"RGB {rounding}"]
        if self.luma:
            parts.append(f"BT.601 luma {'rounded to 8 bits' if self.round_luma else 'not rounded'}")
        parts.append(f"{self.crop} px cut from every border" if self.crop else "whole picture")
        return ", ".join(parts)

    def prepare(self, picture: Tensor) -> Tensor:
        """RGB (N, 3, H, W) in [0, 1] to what is compared, float64 in [0, 1]: clipped, rounded, cropped, perhaps luma.

        Raises:
            ValueError: Nothing is left after the crop.
        """
        height, width = picture.shape[-2:]
        if min(height, width) <= 2 * self.crop:
            raise ValueError(
                f"protocol '{self.name}' crops {self.crop} pixels from every border; {height}x{width} is too small."
            )
        rgb = to_8_bit(picture) if self.round_rgb else picture.double().clamp(0, 1)
        inner = rgb[..., self.crop : height - self.crop, self.crop : width - self.crop]
        return self._luma(inner) if self.luma else inner

    def _luma(self, rgb: Tensor) -> Tensor:
        y = rgb_to_y(rgb)
        return to_8_bit(y) if self.round_luma else y


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("rgb"),
        Protocol("rgb_crop4", crop=4),
        Protocol("y", luma=True),
        Protocol("y_crop4", luma=True, crop=4),
        Protocol("y_8bit", luma=True, round_luma=True),
        Protocol("y_8bit_crop4", luma=True, round_luma=True, crop=4),
        Protocol("nafnet", ssim=ssim_3d),
        Protocol("nafnet_crop4", crop=4, ssim=ssim_3d),
        Protocol("nafnet_y", luma=True, ssim=ssim_3d),
        Protocol("nafnet_y_crop4", luma=True, crop=4, ssim=ssim_3d),
        Protocol("skimage", round_rgb=False, ssim=ssim_uniform),
        Protocol("dehazeformer", round_rgb=False, ssim=ssim_downsampled),
    )
}


def get_protocol(name: str) -> Protocol:
    """The protocol of a name.

    Raises:
        ConfigError: The name is unknown.
    """
    if name not in PROTOCOLS:
        hint = did_you_mean(name, PROTOCOLS)
        raise ConfigError(f"unknown measuring protocol '{name}'.{hint} Known: {', '.join(PROTOCOLS)}.")
    return PROTOCOLS[name]
