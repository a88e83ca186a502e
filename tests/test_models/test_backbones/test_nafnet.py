import pytest
import torch
from parity_case import ParityCase
from torch import nn

from dtir.core.errors import ConfigError
from dtir.models.backbones import NAFNet, NAFNetLocal
from dtir.models.backbones.image.nafnet import LocalAvgPool2d, NAFBlock
from dtir.models.backbones.parts.layers import LayerNorm2d

SMALL = {"width": 8, "enc_blk_nums": [1, 1], "middle_blk_num": 1, "dec_blk_nums": [1, 1]}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize(("name", "network"), [("nafnet", NAFNet), ("nafnet_local", NAFNetLocal)])
@torch.no_grad()
def test_equals_the_published_network(name, network, layout, parity_dir):
    case = ParityCase(parity_dir, name)
    model = case.load(network(**case.meta["kwargs"]))
    assert sum(p.numel() for p in model.parameters()) == case.meta["params"]
    for (x,), (y,), bound in case.groups():
        assert (model(x.to(memory_format=layout)) - y).abs().max() <= bound


@pytest.mark.parametrize(
    ("width", "enc", "middle", "dec", "millions"),
    [
        (32, [1, 1, 1, 28], 1, [1, 1, 1, 1], 17.11),
        (32, [2, 2, 4, 8], 12, [2, 2, 2, 2], 29.16),
        (64, [1, 1, 1, 28], 1, [1, 1, 1, 1], 67.89),
        (64, [2, 2, 4, 8], 12, [2, 2, 2, 2], 115.98),
    ],
)
def test_published_sizes(width, enc, middle, dec, millions):
    with torch.device("meta"):
        model = NAFNet(width=width, enc_blk_nums=enc, middle_blk_num=middle, dec_blk_nums=dec)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == millions


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (17, 4), (16, 16)])
def test_any_size(size):
    x = torch.rand(2, 3, *size)
    assert NAFNet(**SMALL)(x).shape == x.shape


def test_blocks_are_ordered_and_exist():
    model = NAFNet(**SMALL)
    names = model.ordered_blocks()
    assert names == ["encoders.0.0", "encoders.1.0", "middle_blks.0", "decoders.0.0", "decoders.1.0"]
    assert all(type(model.get_submodule(name)).__name__ == "NAFBlock" for name in names)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
def test_layer_norm_value_and_gradient(layout):
    torch.manual_seed(0)
    norm = LayerNorm2d(5, eps=1e-3).double()
    torch.nn.init.normal_(norm.weight)
    torch.nn.init.normal_(norm.bias)
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    centred = x - x.mean(1, keepdim=True)
    expected = centred / (centred.square().mean(1, keepdim=True) + 1e-3).sqrt()
    expected = expected * norm.weight[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), expected)
    assert torch.autograd.gradcheck(norm, x)


def test_local_pool_is_the_mean_of_each_window():
    x = torch.rand(1, 2, 7, 9, dtype=torch.float64)
    pooled = LocalAvgPool2d((3, 5))(x)
    assert pooled.shape == x.shape
    torch.testing.assert_close(pooled[..., 3, 4], x[..., 2:5, 2:7].mean((-2, -1)))
    torch.testing.assert_close(pooled[..., 0, 0], x[..., :3, :5].mean((-2, -1)))
    torch.testing.assert_close(LocalAvgPool2d((7, 12))(x), x.mean((-2, -1), keepdim=True))


def test_local_network_needs_no_window_on_training_sizes():
    torch.manual_seed(0)
    plain, local = NAFNet(**SMALL).eval(), NAFNetLocal(train_size=(1, 3, 32, 32), **SMALL).eval()
    for p in plain.parameters():
        torch.nn.init.normal_(p, std=0.1)
    local.load_state_dict(plain.state_dict())
    x = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(local(x), plain(x))


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match="fast_imp=True"):
        NAFNetLocal(fast_imp=True, **SMALL)
    with pytest.raises(ConfigError, match=r"enc_blk_nums=\[1\] and dec_blk_nums=\[1, 1\]"):
        NAFNet(enc_blk_nums=[1], dec_blk_nums=[1, 1])


def test_local_pool_in_half_precision_keeps_the_mean():
    x = torch.rand(1, 1, 400, 400, generator=torch.Generator().manual_seed(0))
    exact = LocalAvgPool2d((48, 48))(x)
    torch.testing.assert_close(LocalAvgPool2d((48, 48))(x.bfloat16()), exact.bfloat16(), rtol=0.01, atol=0)


def test_per_sample_gradients_by_vmap_equal_a_loop():
    torch.manual_seed(0)
    model, x = NAFNet(**SMALL).double(), torch.rand(3, 3, 8, 8, dtype=torch.float64)
    nn.init.ones_(model.middle_blks[0].beta)
    parameters = dict(model.named_parameters())

    def loss(parameters, picture):
        return torch.func.functional_call(model, parameters, (picture[None],)).square().sum()

    together = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    for i, picture in enumerate(x):
        alone = torch.func.grad(loss)(parameters, picture)
        torch.testing.assert_close({name: grad[i] for name, grad in together.items()}, alone)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
def test_second_derivatives(layout):
    torch.manual_seed(0)
    block = NAFBlock(2).double()
    nn.init.normal_(block.beta)
    nn.init.normal_(block.gamma)
    x = torch.randn(1, 2, 3, 2, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    assert torch.autograd.gradgradcheck(block, x)


def test_channels_last_stays_channels_last():
    model, x = NAFNet(**SMALL), torch.rand(2, 3, 16, 16).to(memory_format=torch.channels_last)
    strides = []
    for name in model.ordered_blocks():
        model.get_submodule(name).register_forward_hook(lambda _, args, out: strides.append(out.stride(1)))
    assert model(x).stride(1) == 1
    assert strides == [1] * len(strides)
