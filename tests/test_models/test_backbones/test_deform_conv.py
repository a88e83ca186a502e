import pytest
import torch
import torchvision
from parity_case import ParityCase
from torch import nn

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.deform_conv import DCNLayer, modulated_deform_conv2d

# Kernel, and stride, padding, dilation, groups, deform_groups, and the size of the output for 9 x 7 pixels.
SETTINGS = [
    ((3, 3), 1, 1, 1, 1, 1, (9, 7)),
    ((3, 3), 2, 1, 2, 2, 1, (4, 3)),
    ((3, 2), (1, 2), (2, 0), 1, 2, 4, (11, 3)),
    ((1, 1), 1, 0, 1, 1, 2, (9, 7)),
]


def tensors(kernel, groups, deform_groups, size, channels=8):
    torch.manual_seed(0)
    places = deform_groups * kernel[0] * kernel[1]
    made = [
        torch.randn(2, channels, 9, 7),
        3 * torch.randn(2, 2 * places, *size),
        torch.rand(2, places, *size),
        torch.randn(6, channels // groups, *kernel),
        torch.randn(6),
    ]
    return [t.double().requires_grad_() for t in made]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@torch.no_grad()
def test_equals_the_published_operator(layout, parity_dir):
    arrays = ParityCase(parity_dir, "op_modulated_deform_conv2d").arrays
    names = ("x0", "offset", "mask", "weight", "bias", "y0")
    x, offset, mask, weight, bias, y = (torch.from_numpy(arrays[name]) for name in names)
    found = modulated_deform_conv2d(x.to(memory_format=layout), offset, mask, weight, bias, padding=1)
    assert (found - y).abs().max() <= 1e-5 * y.abs().max()


@pytest.mark.parametrize(("kernel", "stride", "padding", "dilation", "groups", "deform_groups", "size"), SETTINGS)
def test_values_and_gradients_equal_torchvision(kernel, stride, padding, dilation, groups, deform_groups, size):
    inputs = tensors(kernel, groups, deform_groups, size)
    x, offset, mask, weight, bias = inputs
    expected = torchvision.ops.deform_conv2d(x, offset, weight, bias, stride, padding, dilation, mask)
    found = modulated_deform_conv2d(*inputs, stride, padding, dilation, groups, deform_groups)
    torch.testing.assert_close(found, expected)
    grad = torch.randn_like(expected)
    torch.testing.assert_close(
        torch.autograd.grad(found, inputs, grad), torch.autograd.grad(expected, inputs, grad), rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize(("groups", "deform_groups"), [(1, 1), (2, 2)])
def test_gradients_equal_finite_differences(groups, deform_groups):
    torch.manual_seed(0)
    x, weight = torch.randn(1, 4, 4, 3), torch.randn(2, 4 // groups, 2, 2)
    offset, mask = 2 * torch.randn(1, 8 * deform_groups, 3, 2), torch.rand(1, 4 * deform_groups, 3, 2)
    inputs = [t.double().requires_grad_() for t in (x, offset, mask, weight)]
    assert torch.autograd.gradcheck(
        lambda *t: modulated_deform_conv2d(*t, groups=groups, deform_groups=deform_groups), inputs
    )


def test_taps_that_are_not_moved_make_a_convolution():
    x, _, _, weight, bias = tensors((3, 3), 1, 1, (9, 7))
    offset = torch.zeros(2, 18, 9, 7, dtype=torch.float64, requires_grad=True)
    mask = torch.ones(2, 9, 9, 7, dtype=torch.float64)
    out = modulated_deform_conv2d(x, offset, mask, weight, bias, padding=1)
    torch.testing.assert_close(out, nn.functional.conv2d(x, weight, bias, padding=1))
    grad = torch.autograd.grad(out.square().sum(), offset)[0]
    # The taps above the first row are one pixel outside: there the published gradient is zero.
    assert not grad[:, [0, 2, 4], 0].any()
    assert grad[:, [6, 8, 10], 0, 1:-1].all()


@torch.no_grad()
def test_places_far_away_and_numbers_that_are_none_read_nothing():
    x, offset, mask, weight, _ = tensors((3, 3), 1, 1, (9, 7))
    for value in (1e9, -1e9, float("inf"), float("nan")):
        assert not modulated_deform_conv2d(x, torch.full_like(offset, value), mask, weight, padding=1).any()


def test_a_large_batch_is_the_pictures_one_by_one(monkeypatch):
    inputs = tensors((3, 3), 1, 1, (9, 7))
    found = modulated_deform_conv2d(*inputs, padding=1)
    found_grads = torch.autograd.grad(found.square().sum(), inputs)
    monkeypatch.setattr("dtir.models.backbones.parts.deform_conv.HELD_VALUES", 500)
    expected = modulated_deform_conv2d(*inputs, padding=1)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found_grads, torch.autograd.grad(expected.square().sum(), inputs))


def test_per_sample_gradients_by_vmap_equal_a_loop():
    *inputs, bias = (t.detach() for t in tensors((3, 3), 1, 1, (9, 7)))

    def loss(weight, x, offset, mask):
        return modulated_deform_conv2d(x[None], offset[None], mask[None], weight, bias, padding=1).square().sum()

    x, offset, mask, weight = inputs
    together = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0, 0))(weight, x, offset, mask)
    for i in range(2):
        torch.testing.assert_close(together[i], torch.func.grad(loss)(weight, x[i], offset[i], mask[i]))


def test_a_second_derivative_is_refused():
    inputs = tensors((3, 3), 1, 1, (9, 7))
    grads = torch.autograd.grad(modulated_deform_conv2d(*inputs, padding=1).square().sum(), inputs, create_graph=True)
    with pytest.raises(NotImplementedError, match="differentiated once, not twice"):
        grads[0].sum().backward()


@pytest.mark.parametrize("options", [{}, {"stride": 2, "bias": False}, {"groups": 2, "deformable_groups": 4}])
def test_layer_starts_as_half_a_convolution(options):
    torch.manual_seed(0)
    layer = DCNLayer(8, 6, 3, padding=1, **options)
    x = torch.randn(2, 8, 9, 7)
    step, groups = options.get("stride", 1), options.get("groups", 1)
    expected = nn.functional.conv2d(x, layer.weight / 2, None, step, 1, groups=groups)
    torch.testing.assert_close(layer(x, torch.randn(2, 8, 9, 7)), expected)


def test_shapes_that_do_not_fit_are_named():
    x, offset, mask, weight, _ = tensors((3, 3), 1, 1, (9, 7))
    with pytest.raises(ConfigError, match=r"offset has shape \(2, 18, 9, 7\).* need \(2, 18, 7, 5\)"):
        modulated_deform_conv2d(x, offset, mask, weight)
    with pytest.raises(ConfigError, match=r"mask has shape .* need \(2, 9, 9, 7\)"):
        modulated_deform_conv2d(x, offset, mask[:, :8], weight, padding=1)
    with pytest.raises(ConfigError, match="8 channels do not fit groups=2"):
        modulated_deform_conv2d(x, offset, mask, weight, padding=1, groups=2)
