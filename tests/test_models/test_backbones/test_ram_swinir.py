import pytest
import torch
from parity_case import ParityCase

from dtir.core.errors import ConfigError
from dtir.models.backbones import RAMSwinIR
from dtir.models.backbones.parts.window_attention import attend_in_windows, shift_mask

SMALL = {"img_size": 16, "embed_dim": 8, "depths": [2], "num_heads": [2], "window_size": 4}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@torch.no_grad()
def test_equals_the_published_network(layout, parity_dir):
    case = ParityCase(parity_dir, "ram_swinir")
    model = case.load(RAMSwinIR(**case.meta["kwargs"]))
    assert sum(p.numel() for p in model.parameters()) == case.meta["params"]
    for (x,), (y,), bound in case.groups():
        assert (model(x.to(memory_format=layout)) - y).abs().max() <= bound


def test_stored_constants_are_those_of_the_checkpoint(parity_dir):
    case = ParityCase(parity_dir, "ram_swinir")
    own, published = RAMSwinIR(**case.meta["kwargs"]).state_dict(), case.state_dict()
    constant = [key for key in own if key.endswith(("attn_mask", "relative_position_index"))]
    assert constant
    assert all(torch.equal(own[key], published[key]) for key in constant)


def test_published_size():
    with torch.device("meta"):
        model = RAMSwinIR()
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == 11.51


def test_attention_within_windows_is_that_of_the_definition():
    torch.manual_seed(0)
    side, heads, dim = 2, 2, 3
    qkv = torch.randn(2, 4, 6, 3 * heads * dim, dtype=torch.float64)
    bias = torch.randn(heads, side**2, side**2, dtype=torch.float64)
    mask = torch.randn(6, side**2, side**2, dtype=torch.float64)
    expected = torch.zeros(2, 4, 6, heads * dim, dtype=torch.float64)
    for window in range(6):
        rows = slice(window // 3 * side, window // 3 * side + side)
        columns = slice(window % 3 * side, window % 3 * side + side)
        q, k, v = qkv[:, rows, columns].flatten(1, 2).unflatten(-1, (3, heads, dim)).permute(2, 0, 3, 1, 4)
        logits = q @ k.transpose(-2, -1) * dim**-0.5 + bias + mask[window]
        out = (logits.softmax(-1) @ v).transpose(1, 2).reshape(2, side, side, heads * dim)
        expected[:, rows, columns] = out
    torch.testing.assert_close(attend_in_windows(qkv, side, heads, bias, mask), expected)
    unmasked = attend_in_windows(qkv, side, heads, bias)
    torch.testing.assert_close(unmasked, attend_in_windows(qkv, side, heads, bias, mask * 0))


def test_shifted_windows_keep_the_borders_apart():
    mask = shift_mask(4, 4, 2, 1, torch.zeros(()))
    assert not mask[0].any()
    assert mask[1].tolist() == [[0, -100, 0, -100], [-100, 0, -100, 0]] * 2
    assert (mask[3] == 0).sum() == 4


@torch.no_grad()
def test_hidden_pixels_are_the_learned_ones():
    torch.manual_seed(0)
    model, x = RAMSwinIR(**SMALL).eval(), torch.randn(2, 3, 16, 16)
    mask = (torch.rand(2, 16, 16) < 0.5).float()
    torch.testing.assert_close(model(x, mask), model(torch.where(mask[:, None] > 0, model.mask_token, x)))


@pytest.mark.parametrize("connection", ["1conv", "3conv"])
def test_enlarging(connection):
    model = RAMSwinIR(upscale=4, upsampler="pixelshuffle", resi_connection=connection, **SMALL)
    assert model(torch.rand(1, 3, 5, 6)).shape == (1, 3, 20, 24)


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match="patch_size=4"):
        RAMSwinIR(patch_size=4)
    with pytest.raises(ConfigError, match="upscale=2 with upsampler=''"):
        RAMSwinIR(upscale=2)
    with pytest.raises(ConfigError, match="resi_connection='2conv'"):
        RAMSwinIR(resi_connection="2conv", **SMALL)
    with pytest.raises(ConfigError, match=r"depths=\[2\] and num_heads=\[2, 2\]"):
        RAMSwinIR(**{**SMALL, "num_heads": [2, 2]})
