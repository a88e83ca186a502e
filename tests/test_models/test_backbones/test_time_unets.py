"""The U-Nets of IR-SDE, DA-CLIP and DiffUIR."""

import pytest
import torch
from parity_case import ParityCase

from dtir.core.errors import ConfigError
from dtir.models.backbones import ConditionalUNet, DACLIPUNet, DenoisingUNet, UnetRes
from dtir.models.backbones.parts.time_unet import Attention, GainNorm, LinearAttention

CASES = {
    "irsde_conditional_unet": (ConditionalUNet, lambda net, x, cond, t: net(x, cond, t)),
    "irsde_denoise_unet": (DenoisingUNet, lambda net, x, t: net(x, t)),
    "daclip_unet": (DACLIPUNet, lambda net, x, cond, text, image, t: net(x, cond, t, text, image)),
    "diffuir_unet": (UnetRes, lambda net, x, first, second: net(x, [first, second])[0]),
}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("name", CASES)
@torch.no_grad()
def test_equals_the_published_network(name, layout, parity_dir):
    network, call = CASES[name]
    case = ParityCase(parity_dir, name)
    model = case.load(network(**case.meta["kwargs"]))
    assert sum(p.numel() for p in model.parameters()) == case.meta["params"]
    for (x, *others), (y,), bound in case.groups():
        assert (call(model, x.to(memory_format=layout), *others) - y).abs().max() <= bound


@pytest.mark.parametrize(
    ("network", "settings", "millions"),
    [
        (ConditionalUNet, {}, 137.15),
        (DACLIPUNet, {"ch_mult": [1, 2, 4, 8], "use_image_context": True}, 48.98),
        (UnetRes, {}, 36.26),
        (UnetRes, {"dim": 64, "dim_mults": [1, 2, 2, 4]}, 12.41),
        (UnetRes, {"dim": 32, "dim_mults": [1, 2, 2, 4]}, 3.27),
        (UnetRes, {"dim": 32, "dim_mults": [1, 1, 1, 1]}, 0.89),
    ],
)
def test_published_sizes(network, settings, millions):
    with torch.device("meta"):
        model = network(**settings)
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == millions


def heads(attention, x):
    q, k, v = attention.to_qkv(x).flatten(2).unflatten(1, (3, 4, 32)).unbind(1)
    return q, k, v


def test_linear_attention_is_that_of_the_published_code():
    torch.manual_seed(0)
    attention, x = LinearAttention(6).double(), torch.randn(2, 6, 3, 4, dtype=torch.float64)
    q, k, v = heads(attention, x)
    q, k, v = q.softmax(-2) * 32**-0.5, k.softmax(-1), v / 12
    out = torch.einsum("bhde,bhdn->bhen", torch.einsum("bhdn,bhen->bhde", k, v), q)
    project, norm = attention.to_out
    torch.testing.assert_close(attention(x), norm(project(out.reshape(2, 128, 3, 4))))


def test_full_attention_is_that_of_the_published_code():
    torch.manual_seed(0)
    attention, x = Attention(6).double(), torch.randn(2, 6, 3, 4, dtype=torch.float64)
    q, k, v = heads(attention, x)
    weights = (torch.einsum("bhdi,bhdj->bhij", q, k) * 32**-0.5).softmax(-1)
    out = torch.einsum("bhij,bhdj->bhdi", weights, v)
    torch.testing.assert_close(attention(x), attention.to_out(out.reshape(2, 128, 3, 4)))


def test_norm_is_computed_in_float32():
    norm, x = GainNorm(8), torch.randn(1, 8, 2, 2) * 1e-2
    exact = norm(x.bfloat16().float())
    torch.testing.assert_close(norm.bfloat16()(x.bfloat16()).float(), exact, rtol=0.01, atol=0.01)


@torch.no_grad()
def test_times_of_all_kinds():
    torch.manual_seed(0)
    model, x = ConditionalUNet(nf=8, depth=1).eval(), torch.rand(2, 3, 4, 4)
    cond = torch.rand_like(x)
    expected = model(x, cond, torch.tensor([7, 7]))
    for time in (7, 7.0, torch.tensor(7), torch.tensor([7])):
        torch.testing.assert_close(model(x, cond, time), expected)
    assert not torch.allclose(model(x, cond, 8), expected)
    torch.testing.assert_close(model(x), model(x, x, 0))


@torch.no_grad()
def test_contexts_matter_and_may_be_left_out():
    torch.manual_seed(0)
    settings = {"nf": 32, "ch_mult": [1, 1, 1, 1], "context_dim": 8, "use_image_context": True}
    model, x = DACLIPUNet(**settings).eval(), torch.rand(1, 3, 16, 16)
    for name, p in model.named_parameters():
        if "proj_out" in name:
            torch.nn.init.normal_(p, std=0.1)
    plain, context = model(x, x, 3), torch.randn(1, 8)
    assert not torch.allclose(model(x, x, 3, text_context=context), plain)
    assert not torch.allclose(model(x, x, 3, image_context=context), plain)
    torch.testing.assert_close(model(x, x, 3, image_context=torch.zeros(1, 8)), plain)


@torch.no_grad()
def test_objective_chooses_the_time():
    torch.manual_seed(0)
    model, x = UnetRes(dim=8, dim_mults=[1]).eval(), torch.rand(1, 6, 4, 4)
    (first,) = model(x, [5, 9])
    model.objective = "pred_noise"
    (second,) = model(x, [9, 5])
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(model(x[:, :3])[0], model(x[:, :3].repeat(1, 2, 1, 1), [0, 0])[0])


@pytest.mark.parametrize("option", ["learned_sinusoidal_cond", "random_fourier_features"])
def test_other_time_embeddings(option):
    model = UnetRes(dim=8, dim_mults=[1], **{option: True})
    (out,) = model(torch.rand(2, 6, 4, 4), [torch.tensor([1, 2]), 0])
    assert out.shape == (2, 3, 4, 4)
    assert model.unet0.time_mlp[0].weights.requires_grad == (option == "learned_sinusoidal_cond")


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match="num_unet=2"):
        UnetRes(num_unet=2)
    with pytest.raises(ConfigError, match="objective='pred_res_noise' is not known; use one of pred_res, pred_noise"):
        UnetRes(objective="pred_res_noise")
