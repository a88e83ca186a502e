"""Layers in half precision and without gradients give what their formulas say."""

import pytest
import torch
from torch.nn import functional as F

from dtir.models.backbones.image.nafnet import NAFBlock, NAFNetLocal
from dtir.models.backbones.parts.layers import LayerNorm2d, PointwiseConv2d, channels_last, scale_channels
from dtir.models.modulation import Modulation, _scale_and_shift

BF16 = 2.0**-8


def randomised(module):
    generator = torch.Generator().manual_seed(1)
    for p in module.parameters():
        p.data = 0.3 * torch.randn(p.shape, generator=generator)
    return module


def pictures(channels, batch=2):
    return channels_last(torch.randn(batch, channels, 9, 7, generator=torch.Generator().manual_seed(0)) + 0.5)


@pytest.mark.parametrize("channels", [12, 40])
def test_a_layer_norm_in_half_precision_is_that_in_float32_rounded(channels):
    norm, x = randomised(LayerNorm2d(channels)), pictures(channels).bfloat16()
    y = norm(x)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), norm(x.float()), rtol=BF16, atol=1e-6)


def test_gain_and_shift_of_channels_are_not_rounded():
    x, gain, shift = pictures(5).bfloat16(), torch.tensor([1.001, 0.9, -2.0, 0.0, 1.0]), torch.arange(5.0) / 7
    exact = gain[:, None, None] * x.float() + shift[:, None, None]
    assert torch.equal(scale_channels(x, gain, shift), exact.bfloat16())
    with torch.no_grad():
        modulated = _scale_and_shift(x, Modulation(gain[None], shift[None], gain[None], None, None))
    assert torch.equal(modulated, exact.bfloat16())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_a_layer_onto_a_base_is_their_sum(bias, weighted):
    layer, gain = randomised(PointwiseConv2d(6, 4, bias)), torch.linspace(-1, 2, 4).view(1, 4, 1, 1)
    base, x, weights = pictures(4), pictures(6), pictures(6)[..., :1, :1] if weighted else None
    expected = base + gain * F.conv2d(x if weights is None else weights * x, layer.weight, layer.bias)
    with torch.no_grad():
        torch.testing.assert_close(layer.onto(base, x, gain, weights), expected)
    torch.testing.assert_close(layer.onto(base, x, gain, weights), expected)


def test_a_layer_onto_a_base_shows_hooks_its_own_output():
    layer, base, x, seen = PointwiseConv2d(6, 4), pictures(4), pictures(6), []
    layer.register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.no_grad():
        y = layer.onto(base, x, torch.full((1, 4, 1, 1), 2.0))
        torch.testing.assert_close(y, base + 2 * seen[0])
        torch.testing.assert_close(seen[0], F.conv2d(x, layer.weight, layer.bias))


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16, torch.float16])
def test_a_block_without_gradients_is_that_with_them(precision):
    block, x = randomised(NAFBlock(24)), pictures(24)
    expected = block(x)
    assert expected.requires_grad
    with torch.inference_mode(), torch.autocast("cpu", precision, enabled=precision != torch.float32):
        y = block(x)
    off = (y.float() - expected).abs().mean() / expected.std()
    assert off < (1e-6 if precision == torch.float32 else 2 * BF16)
    assert y.dtype == (torch.bfloat16 if precision == torch.bfloat16 else torch.float32)


def test_a_block_with_local_pooling_without_gradients_is_that_with_them():
    network = randomised(NAFNetLocal(3, 8, 1, [1], [1], train_size=(1, 3, 8, 8)))
    x = torch.rand(1, 3, 32, 24)
    with torch.no_grad():
        y = network(x)
    torch.testing.assert_close(y, network(x), rtol=1e-4, atol=1e-4)
