"""The conditional restorer that fills what is missing of a picture."""

import pytest
import torch
from conditional_case import SMALL_NET, batch, by_hand, make
from torch import nn

from dtir.diffusion.domain import to_centred
from dtir.models.backbones.traits import Traits
from dtir.registry import BACKBONES
from dtir.testing.small_backbones import SMALL


@BACKBONES.register_module()
class Filling(nn.Module):
    """The exact noise where missing x_0 is N(mean of the known pixels of the state, 0.2^2); keeps what it is given."""

    traits, mask_channels = Traits(size_multiple=1), 1

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[torch.Tensor, ...]] = []

    def forward(self, x, condition, level):
        self.seen.append((x, condition, level))
        mask = condition[:, 3:]
        a = level.view(-1, 1, 1, 1) / 1000
        known = (mask < 0).expand_as(x)
        # Of known pixels the output is nonsense: it is not to matter.
        mean = (x * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True)
        eps = (x - a * mean) * (1 - a**2).sqrt() / (a**2 * 0.04 + 1 - a**2)
        return torch.where(known, torch.full_like(x, 100.0), eps) + self.bias


def with_hole(lq: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The pictures with white pixels, and where they are, (B, 1, H, W)."""
    missing = torch.zeros_like(lq[:, :1], dtype=torch.bool)
    missing[..., 1:4, 2:5] = True
    # A single white channel is no missing pixel.
    lq = lq.clone()
    lq[:, 0, 0, 0] = 1
    return torch.where(missing, 1.0, lq), missing


def test_only_missing_pixels_are_learned_and_the_known_ones_are_seen():
    lq, samples = batch()
    lq, missing = with_hole(lq)
    model = make("Filling", missing=1.0)
    loss = model(lq, samples, mode="loss")["loss_noise"]
    ((x, condition, _),) = model.backbone.seen
    x_t, _, _, eps = by_hand(lq, samples["gt"], discrete=False)
    torch.testing.assert_close(x, torch.where(missing, x_t, to_centred(lq)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(condition[:, :3], to_centred(lq))
    assert torch.equal(condition[:, 3:] == 1, missing)
    assert torch.equal(condition[:, 3:] == -1, ~missing)
    out = model.backbone(*model.backbone.seen[0])
    inside = missing.expand_as(out)
    torch.testing.assert_close(loss, (out - eps)[inside].square().mean(), rtol=1e-4, atol=1e-5)


def test_nothing_missing_is_no_loss_and_no_change():
    lq, samples = batch()
    lq = lq * 0.9
    model = make("Filling", missing=1.0)
    assert model(lq, samples, mode="loss")["loss_noise"].item() == 0
    assert torch.equal(model.restore(lq, torch.zeros(4)), lq)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_missing_pixels_are_drawn_given_the_known_ones_which_come_out_as_they_are(clip):
    scheduler = {"type": "DDPMScheduler", "num_timesteps": 1000}
    sampler = {"type": "AncestralSampler"}
    model = make("Filling", missing=1.0, clip=clip, num_steps=200, scheduler=scheduler, sampler=sampler)
    lq = torch.full((1, 3, 64, 64), 0.4)
    lq[..., 8:60, 4:60] = 1
    restored = model.restore(lq, torch.zeros(1))
    known = (lq != 1).expand_as(lq)
    assert torch.equal(restored[known], lq[known])
    filled = to_centred(restored[~known])
    assert filled.mean() == pytest.approx(-0.2, abs=0.01)
    # Few steps narrow the spread a little, whatever the sampler.
    assert filled.std() == pytest.approx(0.2, rel=0.1)
    # Every state that the network sees has the known pixels themselves.
    assert all(torch.equal(x[known], to_centred(lq)[known]) for x, *_ in model.backbone.seen)


@pytest.mark.parametrize(
    "network",
    [
        {**SMALL_NET, "mask_nc": 1},
        {"type": "ConditionalUNet", "nf": 8, "depth": 2, "mask_nc": 1},
        {"type": "UNetModelSwin", **SMALL["UNetModelSwin"], "cond_mask": True},
    ],
    ids=lambda network: network["type"],
)
def test_published_networks_fill_what_is_missing(network):
    torch.manual_seed(0)
    model = make(network, missing=1.0, num_steps=2)
    lq, samples = batch(2, side=16)
    lq, missing = with_hole(lq)
    model(lq, samples, mode="loss")["loss_noise"].backward()
    restored = model.restore(lq, torch.zeros(2))
    known = ~missing.expand_as(lq)
    assert torch.equal(restored[known], lq[known])
    assert not torch.equal(restored, lq)
    tiled = model.apply_in_tiles(lambda y: model.restore(y, torch.zeros(2)), lq, tile=16, overlap=8, multiple=8)
    torch.testing.assert_close(tiled, restored, rtol=0, atol=1e-4)
