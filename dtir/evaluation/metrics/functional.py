"""PSNR, SSIM and MAE as published code computes them, batched, on any device that has float64.

Pictures are (N, C, H, W) in [0, 1]; arithmetic is in float64, and that of SSIM on the 0..255 scale.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
UNIFORM_WINDOW = 7
POOLED_SIDE = 256
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2

# ITU-R BT.601, studio range: rows Y, Cb, Cr of RGB in [0, 1], on the 0..255 scale.
_YCBCR = ((65.481, 128.553, 24.966), (-37.797, -74.203, 112.0), (112.0, -93.786, -18.214))
_YCBCR_OFFSET = (16.0, 128.0, 128.0)


def psnr(pred: Tensor, gt: Tensor, eps: float = 0.0) -> Tensor:
    """Peak signal-to-noise ratio in dB of each picture, (N,); infinite where the two are equal.

    Args:
        pred: Pictures (N, C, H, W) in [0, 1].
        gt: Ground truths like `pred`.
        eps: Added to the mean squared error. BasicSR's tensor code adds 1e-8, which ends at 80 dB.

    Raises:
        ValueError: The shapes differ.

    Example:
        >>> gt = torch.zeros(1, 3, 8, 8)
        >>> round(psnr(gt + 0.1, gt).item(), 4)
        20.0
    """
    _require_equal_shapes(pred, gt)
    mse = (pred.double() - gt.double()).square().flatten(1).mean(1)
    return -10 * (mse + eps).log10()


def mae(pred: Tensor, gt: Tensor) -> Tensor:
    """Mean absolute error of each picture, (N,), in [0, 1].

    Raises:
        ValueError: The shapes differ.

    Example:
        >>> gt = torch.zeros(2, 3, 8, 8)
        >>> [round(value, 4) for value in mae(gt + 0.25, gt).tolist()]
        [0.25, 0.25]
    """
    _require_equal_shapes(pred, gt)
    return (pred.double() - gt.double()).abs().flatten(1).mean(1)


def ssim(pred: Tensor, gt: Tensor) -> Tensor:
    """Structural similarity of each picture, (N,) (Wang et al. 2004; Gaussian 11x11, sigma 1.5, no padding).

    Channels are compared on their own and averaged, as in BasicSR.

    Raises:
        ValueError: A side is shorter than the window, or the shapes differ.

    Example:
        >>> gt = torch.rand(1, 3, 32, 32)
        >>> round(ssim(gt, gt).item(), 4)
        1.0
    """
    _require(pred, gt, SSIM_WINDOW)
    return _mean_ssim(pred, gt, lambda x: _smoothed(_smoothed(x, 2), 3))


def ssim_3d(pred: Tensor, gt: Tensor) -> Tensor:
    """SSIM of each picture with a Gaussian over the channels too, borders replicated, as NAFNet's code measures.

    Raises:
        ValueError: A side is shorter than the window, or the shapes differ.
    """
    _require(pred, gt, SSIM_WINDOW)
    pad = SSIM_WINDOW // 2

    def local_mean(x: Tensor) -> Tensor:
        x = F.pad(x[:, None], (pad,) * 6, mode="replicate")[:, 0]
        for dim in (1, 2, 3):
            x = _smoothed(x, dim)
        return x

    return _mean_ssim(pred, gt, local_mean)


def ssim_uniform(pred: Tensor, gt: Tensor) -> Tensor:
    """SSIM of each picture with a uniform 7x7 window and unbiased variances, as scikit-image measures by default.

    Raises:
        ValueError: A side is shorter than the window, or the shapes differ.
    """
    _require(pred, gt, UNIFORM_WINDOW)
    count = UNIFORM_WINDOW**2

    def local_mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, UNIFORM_WINDOW, stride=1)

    return _mean_ssim(pred, gt, local_mean, unbias=count / (count - 1))


def ssim_downsampled(pred: Tensor, gt: Tensor) -> Tensor:
    """SSIM of each picture after average pooling by round(min(H, W) / 256), as DehazeFormer's test script measures.

    The pooled sides are floor(side / ratio), their cells as even as whole pixels allow.

    Raises:
        ValueError: A side is shorter than the window, or the shapes differ.
    """
    _require_equal_shapes(pred, gt)
    height, width = pred.shape[-2:]
    ratio = max(1, round(min(height, width) / POOLED_SIDE))
    size = (height // ratio, width // ratio)
    return ssim(F.adaptive_avg_pool2d(pred.double(), size), F.adaptive_avg_pool2d(gt.double(), size))


def rgb_to_ycbcr(rgb: Tensor) -> Tensor:
    """YCbCr (N, 3, H, W) of RGB (N, 3, H, W) in [0, 1], ITU-R BT.601 with studio range, not rounded.

    Y is in [16, 235] / 255, Cb and Cr in [16, 240] / 255.
    """
    matrix = torch.tensor(_YCBCR, dtype=torch.float64, device=rgb.device)
    offset = torch.tensor(_YCBCR_OFFSET, dtype=torch.float64, device=rgb.device)
    return (torch.einsum("ij,njhw->nihw", matrix, rgb.double()) + offset[:, None, None]) / 255


def rgb_to_y(rgb: Tensor) -> Tensor:
    """Luma (N, 1, H, W) of RGB (N, 3, H, W): the first channel of `rgb_to_ycbcr`."""
    return rgb_to_ycbcr(rgb)[:, :1]


def to_8_bit(picture: Tensor) -> Tensor:
    """Clips to [0, 1] and rounds to multiples of 1/255, as a picture that is saved and read again."""
    return (picture.double().clamp(0, 1) * 255).round() / 255


def _mean_ssim(pred: Tensor, gt: Tensor, local_mean: Callable[[Tensor], Tensor], unbias: float = 1.0) -> Tensor:
    a, b = pred.double() * 255, gt.double() * 255
    mean_a, mean_b = local_mean(a), local_mean(b)
    var_a = (local_mean(a * a) - mean_a.square()) * unbias
    var_b = (local_mean(b * b) - mean_b.square()) * unbias
    covariance = (local_mean(a * b) - mean_a * mean_b) * unbias
    luminance = (2 * mean_a * mean_b + _C1) / (mean_a.square() + mean_b.square() + _C1)
    return (luminance * (2 * covariance + _C2) / (var_a + var_b + _C2)).flatten(1).mean(1)


def _smoothed(x: Tensor, dim: int) -> Tensor:
    """Means under the Gaussian window along a dimension, which is shorter by the window then.

    Sums of shifted pictures: several times as fast as a convolution in float64.
    """
    size = x.shape[dim] - SSIM_WINDOW + 1
    first, *others = _gaussian().tolist()
    total = x.narrow(dim, 0, size) * first
    for shift, weight in enumerate(others, start=1):
        total.add_(x.narrow(dim, shift, size), alpha=weight)
    return total


def _gaussian() -> Tensor:
    x = torch.arange(SSIM_WINDOW, dtype=torch.float64) - SSIM_WINDOW // 2
    weights = torch.exp(-x.square() / (2 * SSIM_SIGMA**2))
    return weights / weights.sum()


def _require(pred: Tensor, gt: Tensor, window: int) -> None:
    _require_equal_shapes(pred, gt)
    height, width = pred.shape[-2:]
    if min(height, width) < window:
        raise ValueError(
            f"SSIM needs pictures of at least {window}x{window} pixels after the border is cropped, got "
            f"{height}x{width}."
        )


def _require_equal_shapes(pred: Tensor, gt: Tensor) -> None:
    # Broadcasting would otherwise measure something else without a word.
    if pred.shape != gt.shape or pred.ndim != 4:
        raise ValueError(
            f"expected two (N, C, H, W) pictures of one shape, got {tuple(pred.shape)}, {tuple(gt.shape)}."
        )
