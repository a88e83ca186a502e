"""Colours of a restored picture from the degraded one, where a network shifts them (Wang et al., "StableSR", IJCV 2024,
section 3.4)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from dtir.core.errors import ConfigError

LEVELS = 5
EPS = 1e-5


def adaptive_instance_normalization(content: Tensor, style: Tensor) -> Tensor:
    """The content with the style's mean and standard deviation of each channel (Huang and Belongie, ICCV 2017).

    Args:
        content: Restored pictures (B, C, H, W).
        style: Degraded pictures (B, C, H', W').

    Returns:
        (B, C, H, W), not clipped.
    """
    mean, std = _moments(content)
    style_mean, style_std = _moments(style)
    return (content - mean) / std * style_std + style_mean


def wavelet_reconstruction(content: Tensor, style: Tensor) -> Tensor:
    """The content's detail on the style's low frequencies, which are what five blurs of doubled width leave.

    Args:
        content: Restored pictures (B, C, H, W).
        style: Degraded pictures (B, C, H, W).

    Returns:
        (B, C, H, W), not clipped.
    """
    return content - _low_frequencies(content) + _low_frequencies(style)


COLOUR_FIXES = {"adain": adaptive_instance_normalization, "wavelet": wavelet_reconstruction}


def colour_fix(kind: str | None, content: Tensor, style: Tensor) -> Tensor:
    """`content` (B, C, H, W) with the colours of `style` by "adain" or "wavelet", or as it is for None."""
    return content if kind is None else COLOUR_FIXES[kind](content, style)


def check_colour_fix(kind: str | None) -> None:
    """Checks the name of a colour fix.

    Raises:
        ConfigError: It is not known.
    """
    if kind is not None and kind not in COLOUR_FIXES:
        raise ConfigError(f"colour_fix='{kind}'; expected one of {', '.join(COLOUR_FIXES)}, or None.")


def _moments(x: Tensor) -> tuple[Tensor, Tensor]:
    variance, mean = torch.var_mean(x, dim=(2, 3), keepdim=True)
    return mean, (variance + EPS).sqrt()


def _low_frequencies(x: Tensor) -> Tensor:
    line = torch.tensor([0.25, 0.5, 0.25], dtype=x.dtype, device=x.device)
    kernel = (line[:, None] * line).expand(x.shape[1], 1, 3, 3)
    for level in range(LEVELS):
        radius = 2**level
        padded = F.pad(x, (radius,) * 4, mode="replicate")
        x = F.conv2d(padded, kernel, groups=x.shape[1], dilation=radius)
    return x
