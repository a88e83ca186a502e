import pytest
import torch
from parity_case import ParityCase

from dtir.core.errors import ConfigError
from dtir.models.backbones import XRestormer
from dtir.models.backbones.image.x_restormer import OCAB

SMALL = {"dim": 8, "num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1}


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels_last"])
@pytest.mark.parametrize("name", ["xrestormer", "xrestormer_sr4"])
@torch.no_grad()
def test_equals_the_published_network(name, layout, parity_dir):
    case = ParityCase(parity_dir, name)
    model = case.load(XRestormer(**case.meta["kwargs"]))
    assert sum(p.numel() for p in model.parameters()) == case.meta["params"]
    for (x,), (y,), bound in case.groups():
        assert (model(x.to(memory_format=layout)) - y).abs().max() <= bound


def test_published_size():
    with torch.device("meta"):
        model = XRestormer(num_blocks=[2, 4, 4, 4], spatial_heads=[1, 2, 4, 8])
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == 26.04
    assert model.traits.size_multiple == 64


def test_overlapping_attention_is_that_of_the_paper():
    torch.manual_seed(0)
    heads, dim, window, keys = 2, 3, 4, 6
    attention = OCAB(5, window, 0.5, heads, dim, bias=True).double()
    x = torch.randn(2, 5, 8, 12, dtype=torch.float64)
    q, k, v = (part.unflatten(1, (heads, dim)) for part in attention.qkv(x).chunk(3, dim=1))
    k, v = (torch.nn.functional.pad(part, (1, 1, 1, 1)) for part in (k, v))
    heights, widths = attention.rel_pos_emb.rel_height, attention.rel_pos_emb.rel_width
    mixed = torch.zeros(2, heads, dim, 8, 12, dtype=torch.float64)
    for row in range(8):
        for column in range(12):
            top, left = row // window * window, column // window * window
            query = q[..., row, column] * dim**-0.5
            distance_y = torch.arange(keys) - row % window + keys - 1
            distance_x = torch.arange(keys) - column % window + keys - 1
            place = heights[distance_y][:, None] + widths[distance_x]
            seen_k, seen_v = (part[..., top : top + keys, left : left + keys] for part in (k, v))
            logits = torch.einsum("bhd,bhdyx->bhyx", query, seen_k) + torch.einsum("bhd,yxd->bhyx", query, place)
            weights = logits.flatten(2).softmax(-1)
            mixed[..., row, column] = torch.einsum("bhn,bhdn->bhd", weights, seen_v.flatten(3))
    torch.testing.assert_close(attention(x), attention.project_out(mixed.flatten(1, 2)))


def test_enlarging_network_takes_any_size():
    model = XRestormer(scale=2, window_size=4, **SMALL)
    assert model.traits.size_multiple == 16
    assert model(torch.rand(1, 3, 5, 9)).shape == (1, 3, 10, 18)


def test_wrong_settings_are_named():
    with pytest.raises(ConfigError, match=r"overlap_ratio=\[0.5, 0.5, 0.5, 0.5\] of window_size=2.* even number"):
        XRestormer(window_size=2, **SMALL)
    with pytest.raises(ConfigError, match=r"spatial_heads=\[1\] must have 4 entries"):
        XRestormer(spatial_heads=[1])
