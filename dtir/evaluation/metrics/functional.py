"""PSNR and SSIM as published code computes them, batched, on any device.

Pictures are (N, C, H, W) in [0, 1]; arithmetic is in float64 on the 0..255 scale.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr(pred: Tensor, gt: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each picture, (N,); infinite where the two are equal."""
    mse = (pred.double() - gt.double()).square().flatten(1).mean(1)
    return -10 * mse.log10()


def ssim(pred: Tensor, gt: Tensor) -> Tensor:
    """Structural similarity of each picture, (N,) (Wang et al. 2004; Gaussian 11x11, sigma 1.5, no padding).

    Channels are compared on their own and averaged, as in BasicSR.

    Raises:
        ValueError: A side is shorter than the window.
    """
    _require_window(pred)
    channels = pred.shape[1]
    column = _gaussian(pred.device)[:, None].expand(channels, 1, SSIM_WINDOW, 1)

    def local_mean(x: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(x, column, groups=channels), column.transpose(2, 3), groups=channels)

    return _ssim_map(pred.double() * 255, gt.double() * 255, local_mean).flatten(1).mean(1)


def ssim_3d(pred: Tensor, gt: Tensor) -> Tensor:
    """SSIM of each picture with a Gaussian over the channels too, borders replicated, as NAFNet's code measures.

    Raises:
        ValueError: A side is shorter than the window.
    """
    _require_window(pred)
    pad = SSIM_WINDOW // 2
    window = _gaussian(pred.device)
    shapes = ((-1, 1, 1), (1, -1, 1), (1, 1, -1))

    def local_mean(x: Tensor) -> Tensor:
        x = F.pad(x[:, None], (pad,) * 6, mode="replicate")
        for shape in shapes:
            x = F.conv3d(x, window.view(1, 1, *shape))
        return x[:, 0]

    return _ssim_map(pred.double() * 255, gt.double() * 255, local_mean).flatten(1).mean(1)


def rgb_to_y(rgb: Tensor) -> Tensor:
    """Luma (N, 1, H, W) of RGB (N, 3, H, W), ITU-R BT.601 with studio range: [16, 235] / 255 for [0, 1]."""
    weights = rgb.new_tensor([65.481, 128.553, 24.966], dtype=torch.float64).view(1, 3, 1, 1)
    return ((rgb.double() * weights).sum(1, keepdim=True) + 16) / 255


def to_8_bit(picture: Tensor) -> Tensor:
    """Clips to [0, 1] and rounds to multiples of 1/255, as a picture that is saved and read again."""
    return (picture.double().clamp(0, 1) * 255).round() / 255


def _ssim_map(a: Tensor, b: Tensor, local_mean) -> Tensor:
    mean_a, mean_b = local_mean(a), local_mean(b)
    var_a = local_mean(a * a) - mean_a.square()
    var_b = local_mean(b * b) - mean_b.square()
    covariance = local_mean(a * b) - mean_a * mean_b
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a.square() + mean_b.square() + _C1)
    return luminance * (2 * covariance + _C2) / (var_a + var_b + _C2)


def _gaussian(device: torch.device) -> Tensor:
    x = torch.arange(SSIM_WINDOW, device=device, dtype=torch.float64) - SSIM_WINDOW // 2
    weights = torch.exp(-x.square() / (2 * SSIM_SIGMA**2))
    return weights / weights.sum()


def _require_window(picture: Tensor) -> None:
    if min(picture.shape[-2:]) < SSIM_WINDOW:
        height, width = picture.shape[-2:]
        raise ValueError(
            f"SSIM needs pictures of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels after the border is cropped, got "
            f"{height}x{width}."
        )
