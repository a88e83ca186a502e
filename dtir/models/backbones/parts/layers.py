"""Layers that several backbones share."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.models.precision import autocast_dtype

# Numbers of half precision that a CPU's kernel of the layer norm takes at once.
HALF_LANES = 32
_EPS = 2.0**-6


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of (B, C, H, W), at every pixel.

    The permuted view goes to the native kernel, for which a channels-last picture already has the right layout. The
    output is channels last whatever the input is: convolutions then keep that layout, and a network that is given a
    contiguous picture pays for one copy per norm instead of the several passes of a mean, a variance and a product.

    Pictures in half precision with fewer channels than the kernel takes at once are normalised in float32: a channel at
    a time takes twice as long as the two conversions do.

    Args:
        channels: C.
        eps: Added to the variance.
    """

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape, channels last in memory."""
        if x.element_size() == 2 and x.shape[1] < HALF_LANES and x.device.type == "cpu":
            return self._normed(x.float(), self.weight.float(), self.bias.float()).to(x.dtype)
        return self._normed(x, self.weight, self.bias)

    def _normed(self, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        y = F.layer_norm(x.permute(0, 2, 3, 1), weight.shape, weight, bias, self.eps)
        return y.permute(0, 3, 1, 2)


class PointwiseConv2d(nn.Conv2d):
    """A 1x1 convolution as a matrix product over the channels-last view of (B, C, H, W).

    On a channels-last picture it reads and writes in place of copying to the layout of a convolution kernel, which on a
    CPU is most of what a 1x1 convolution costs. The output is channels last. State-dict keys are `nn.Conv2d`'s.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        bias: Whether there is one.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        return F.linear(x.permute(0, 2, 3, 1), self.weight.flatten(1), self.bias).permute(0, 3, 1, 2)

    def onto(self, base: Tensor, x: Tensor, gain: Tensor, weights: Tensor | None = None) -> Tensor:
        """`base + gain * self(weights * x)`: how a block with a scaled residual ends.

        Without gradients it is one matrix product, gain and weights being put into the matrix, which is small, and not
        into the pictures; in bfloat16 the sum is then rounded to it.

        Args:
            base: (B, out_channels, H, W).
            x: (B, in_channels, H, W).
            gain: (1, out_channels, 1, 1).
            weights: (B, in_channels, 1, 1) or of x's shape; None for ones.
        """
        hooked = bool(self._forward_hooks or self._forward_pre_hooks)
        if hooked or _steps_apart(x) or (weights is not None and weights[0, 0].numel() > 1):
            return torch.addcmul(base, self(x if weights is None else x * weights), gain)
        gain = gain.flatten()
        matrix = self.weight.flatten(1) * gain[:, None]
        matrix = (matrix if weights is None else matrix * weights.flatten(1)[:, None]).expand(len(x), -1, -1)
        rows, onto = (z.permute(0, 2, 3, 1).flatten(1, 2) for z in (x, base))
        y = torch.baddbmm(onto, rows, matrix.transpose(1, 2).to(x.dtype))
        y = y.unflatten(1, x.shape[-2:]).permute(0, 3, 1, 2)
        return y if self.bias is None else scale_channels(y, torch.ones_like(gain), self.bias * gain)


def _steps_apart(x: Tensor) -> bool:
    """Whether to compute step by step: for gradients, which are less exact in half precision otherwise, in float16,
    whose range is too small for the sum of blocks, and where the graph is another's to make faster."""
    if torch.is_grad_enabled() or torch.compiler.is_compiling() or torch.jit.is_tracing():
        return True
    return autocast_dtype(x.device, x.dtype) == torch.float16


def scale_channels(x: Tensor, gain: Tensor, shift: Tensor) -> Tensor:
    """`gain * x + shift` per channel, without rounding gain and shift to the type of x, in one pass.

    This is what a batch norm does whose statistics are 0 and 1; a sum of tensors of two types first converts whole
    pictures.

    Args:
        x: (B, C, H, W), in half precision or in the type of the others.
        gain: (C,).
        shift: (C,).

    Returns:
        (B, C, H, W), in the type of x.
    """
    # Some releases of torch refuse an eps of 0; variance and eps add up to exactly 1 in every precision.
    zero, variance = torch.zeros_like(gain), torch.full_like(gain, 1 - _EPS)
    return F.batch_norm(x, zero, variance, gain, shift, training=False, eps=_EPS)


def channels_last(x: Tensor) -> Tensor:
    """(B, C, H, W) in channels-last memory: what `LayerNorm2d` and `PointwiseConv2d` read without a copy."""
    return x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def lay_out(module: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    """Puts all convolution weights in a memory format; `nn.Module.to` refuses networks that have 5-D parameters."""
    for p in module.parameters():
        if p.ndim == 4:
            p.data = p.data.contiguous(memory_format=memory_format)
    return module


def pad_to_multiple(x: Tensor, multiple: int) -> Tensor:
    """Mirrors (B, C, H, W) at its lower and right border until height and width are multiples of `multiple`.

    Any H, W >= 1: where a side is shorter than what is missing, the reflection goes to and fro, and a side of one pixel
    is repeated.
    """
    return reflect_pad(x, (0, -x.shape[-1] % multiple, 0, -x.shape[-2] % multiple))


def reflect_pad(x: Tensor, padding: tuple[int, int, int, int]) -> Tensor:
    """Mirrors (B, C, H, W) at its border, as `F.pad` does, but for pictures of any size.

    Args:
        x: The pictures.
        padding: Pixels on the left, on the right, above and below, none of them negative.
    """
    left, right, above, below = padding
    if not any(padding):
        return x
    if max(left, right) < x.shape[-1] and max(above, below) < x.shape[-2]:
        return F.pad(x, padding, mode="reflect")
    rows = _mirror(x.shape[-2], above, below, x.device)
    columns = _mirror(x.shape[-1], left, right, x.device)
    return x.index_select(-2, rows).index_select(-1, columns)


def _mirror(side: int, before: int, after: int, device: torch.device) -> Tensor:
    """Indices (before + side + after,) into `side` pixels, going to and fro."""
    period = max(2 * (side - 1), 1)
    index = torch.arange(-before, side + after, device=device) % period
    return torch.minimum(index, period - index) if side > 1 else torch.zeros_like(index)


class ReflectConv2d(nn.Conv2d):
    """A convolution that keeps the size of (B, C, H, W), which is mirrored at the border; any H, W >= 1.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel_size: Odd.
        groups: Groups of channels.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        around = self.kernel_size[0] // 2
        return super().forward(reflect_pad(x, (around,) * 4))
