"""Convolutions and norms whose gradient is cheap to differentiate once more.

PyTorch takes the second derivative of a grouped convolution group by group, that of a dense one by a convolution whose
kernel is a whole feature map, and that of a layer norm by some thirty elementwise passes. The layers here give the same
numbers: the gradient of a convolution's input gradient is made of a convolution and a weight gradient, that of a norm
of one norm gradient and a closed form.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from dtir.models.backbones.parts.layers import LayerNorm2d

convolution_backward = torch.ops.aten.convolution_backward
layer_norm_backward = torch.ops.aten.native_layer_norm_backward


@contextmanager
def twice_differentiable(network: nn.Module) -> Iterator[None]:
    """For the time of a `with` statement, the plain convolutions and norms of a network are those of this module.

    Parameters, state and results stay the same. The statement has to hold the backward passes too, since a network that
    checkpoints its activations runs its layers once more in them.
    """
    swapped = [(module, TWICE[type(module)]) for module in network.modules() if type(module) in TWICE]
    for module, twice in swapped:
        module.__class__ = twice
    try:
        yield
    finally:
        for module, twice in swapped:
            module.__class__ = twice.__base__


class TwiceConv2d(nn.Conv2d):
    """`nn.Conv2d`, cheap to differentiate twice."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.padding_mode != "zeros" or isinstance(self.padding, str):
            return super()._conv_forward(x, weight, bias)
        if torch.is_autocast_enabled(x.device.type):
            kind = torch.get_autocast_dtype(x.device.type)
            x, weight, bias = (value if value is None else value.to(kind) for value in (x, weight, bias))
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        return _Convolution.apply(x, _inner(weight), _inner(bias), geometry)


class TwiceLayerNorm2d(LayerNorm2d):
    """`LayerNorm2d`, cheap to differentiate twice."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape, channels last in memory."""
        if x.dtype != self.weight.dtype:
            return super().forward(x)
        y = _Norm.apply(x.permute(0, 2, 3, 1), _inner(self.weight), _inner(self.bias), self.eps)
        return y.permute(0, 3, 1, 2)


TWICE = {nn.Conv2d: TwiceConv2d, LayerNorm2d: TwiceLayerNorm2d}


def _inner(parameter: Tensor | None) -> Tensor | None:
    """A parameter as a tensor that is no leaf, which is what `_wanted` can tell about."""
    return None if parameter is None else parameter.view_as(parameter)


def _wanted(tensor: Tensor | None) -> bool:
    """Whether the running backward pass takes the gradient of a tensor that is no leaf.

    `ctx.needs_input_grad` says only whether some pass could.
    """
    return tensor is not None and tensor.grad_fn is not None and torch._C._will_engine_execute_node(tensor.grad_fn)


def _convolution_gradients(g: Tensor, x: Tensor, weight: Tensor, geometry: tuple, mask: list[bool]) -> tuple:
    """Gradients of a convolution's input, weight and bias, each None unless the mask has it."""
    stride, padding, dilation, groups = geometry
    return convolution_backward(g, x, weight, [len(weight)], stride, padding, dilation, False, (0, 0), groups, mask)


class _Convolution(Function):
    """A 2-D convolution with zero padding."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: tuple) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.geometry = geometry
        return torch.conv2d(x, weight, bias, *geometry)

    @staticmethod
    def backward(ctx, g: Tensor) -> tuple:
        x, weight, bias = ctx.saved_tensors
        mask = [ctx.needs_input_grad[0], _wanted(weight), _wanted(bias)]
        if not torch.is_grad_enabled():
            return (*_convolution_gradients(g, x, weight, ctx.geometry, mask), None)
        of_input = _ConvolutionInputGradient.apply(g, x, weight, ctx.geometry) if mask[0] else None
        mask[0], others = False, (None, None)
        if any(mask):
            _, *others = _convolution_gradients(g, x, weight, ctx.geometry, mask)
        return of_input, *others, None


class _ConvolutionInputGradient(Function):
    """The gradient of a convolution's input: linear in that of the output and in the weight."""

    @staticmethod
    def forward(ctx, g: Tensor, x: Tensor, weight: Tensor, geometry: tuple) -> Tensor:
        ctx.save_for_backward(g, weight)
        ctx.geometry = geometry
        return _convolution_gradients(g, x, weight, geometry, [True, False, False])[0]

    @staticmethod
    @once_differentiable
    def backward(ctx, v: Tensor) -> tuple:
        g, weight = ctx.saved_tensors
        of_g = torch.conv2d(v, weight, None, *ctx.geometry) if ctx.needs_input_grad[0] else None
        of_weight = None
        if ctx.needs_input_grad[2]:
            of_weight = _convolution_gradients(g, v, weight, ctx.geometry, [False, True, False])[1]
        return of_g, None, of_weight, None


class _Norm(Function):
    """Layer normalisation of the last dimension."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        y, mean, rstd = torch.native_layer_norm(x, weight.shape, weight, bias, eps)
        ctx.save_for_backward(x, weight, bias, mean, rstd)
        return y

    @staticmethod
    def backward(ctx, g: Tensor) -> tuple:
        x, weight, bias, mean, rstd = ctx.saved_tensors
        mask = [ctx.needs_input_grad[0], _wanted(weight), _wanted(bias)]
        if not torch.is_grad_enabled():
            return (*layer_norm_backward(g, x, weight.shape, mean, rstd, weight, bias, mask), None)
        of_input = _NormInputGradient.apply(g, x, weight, mean, rstd) if mask[0] else None
        mask[0], others = False, (None, None)
        if any(mask):
            _, *others = layer_norm_backward(g, x, weight.shape, mean, rstd, weight, bias, mask)
        return of_input, *others, None


class _NormInputGradient(Function):
    """The gradient of a layer norm's input x, from that of its output, g.

    With r = 1 / sqrt(var(x) + eps), z = r (x - <x>), and Q(u) = r (u - <u> - z <u z>), where <.> is the mean over the
    channels, it is Q(weight g).
    """

    @staticmethod
    def forward(ctx, g: Tensor, x: Tensor, weight: Tensor, mean: Tensor, rstd: Tensor) -> Tensor:
        of_x = layer_norm_backward(g, x, weight.shape, mean, rstd, weight, None, [True, False, False])[0]
        ctx.save_for_backward(g, x, weight, mean, rstd, of_x)
        return of_x

    @staticmethod
    @once_differentiable
    def backward(ctx, v: Tensor) -> tuple:
        """The derivative of `<v Q(u)>`, u = weight g: of u it is Q(v), of x -r (<v z> Q(u) + <u z> Q(v) + <v Q(u)> z).

        Q is its own transpose; r and z depend on x by dr = -r^2 <z dx> and dz = Q(dx).
        """
        g, x, weight, mean, rstd, of_x = ctx.saved_tensors
        turned = layer_norm_backward(v, x, weight.shape, mean, rstd, None, None, [True, False, False])[0]
        z, u, r = (x - mean) * rstd, g * weight, -rstd
        second = (r * _mean_product(v, z)) * of_x
        second.addcmul_(r * _mean_product(u, z), turned).addcmul_(r * _mean_product(v, of_x), z)
        of_weight = (g * turned).flatten(0, -2).sum(0)
        return turned * weight, second, of_weight, None, None


def _mean_product(first: Tensor, second: Tensor) -> Tensor:
    """Mean of the product over the channels (..., C), to (..., 1)."""
    return (first * second).mean(-1, keepdim=True)
