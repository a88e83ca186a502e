"""Diffusion on codes: through a codec, with conditions of another size, and in tiles."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.diffusion.domain import to_centred
from dtir.models.backbones.traits import Traits
from dtir.models.restorers import BatchDraws
from dtir.registry import BACKBONES, RESTORERS
from dtir.testing.small_backbones import SMALL

LQ, GT = torch.rand(2, 2, 3, 18, 22, generator=torch.Generator().manual_seed(1))
DD = {"ch": 32, "ch_mult": [1, 1], "num_res_blocks": 1, "z_channels": 4, "resolution": 16}
REFUSION = {"type": "LatentUNet", "ch": 8, "ch_mult": [1, 2, 2], "embed_dim": 5}
KL = {"type": "AutoencoderKL", "ddconfig": DD}
NAFNET = {**SMALL["ConditionalNAFNet"], "type": "ConditionalNAFNet"}
STEPS = {"type": "DDPMScheduler", "num_timesteps": 8}


@BACKBONES.register_module()
class Pointwise(nn.Module):
    """a x + b mean of the condition over the pixels below one of the state."""

    traits = Traits(size_multiple=1)

    def __init__(self) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.tensor([0.5, -0.25]))
        self.seen = []

    def forward(self, x, condition, t):
        self.seen.append((x.shape, condition.shape))
        below = F.avg_pool2d(condition, condition.shape[-1] // x.shape[-1]).mean(1, keepdim=True)
        return self.factors[0] * x + self.factors[1] * below


def bridge(**options):
    torch.manual_seed(0)
    config = {
        "type": "BridgeRestorer",
        "backbone": {"type": "Pointwise"},
        "tasks": ["hazy"],
        "codec": REFUSION,
        "scheduler": {"type": "IRSDE", "max_sigma": 50, "T": 4},
    }
    return RESTORERS.build({**config, **options})


def conditional(**options):
    torch.manual_seed(0)
    config = {"type": "ConditionalDiffusionRestorer", "backbone": {"type": "Pointwise"}, "tasks": ["hazy"]}
    steps = {"scheduler": STEPS, "level": {"type": "TimestepLevel"}, "num_steps": 4}
    return RESTORERS.build({**config, "codec": KL, **steps, **options})


def batch() -> dict:
    counts = {"num_generative": 0, "slots": torch.arange(2), "noise_seed": 5}
    return {"gt": GT, "task": torch.zeros(2).long(), **counts}


@pytest.mark.parametrize("make", [bridge, conditional])
@pytest.mark.parametrize("condition", ["code", "picture"])
def test_codes_are_trained_on_and_sampled(make, condition):
    model = make(condition=condition)
    (loss,) = model.losses(LQ, batch()).values()
    loss.backward()
    assert model.backbone.factors.grad.all()
    assert not any(name.startswith("codec.") for name, _ in model.named_parameters())
    z, _ = model.codec.encode(LQ)
    ratio = model.codec.factor if condition == "picture" else 1
    channels = 3 if condition == "picture" else z.shape[1]
    assert model.backbone.seen == [(z.shape, (2, channels, ratio * z.shape[2], ratio * z.shape[3]))]
    restored = model.restore(LQ, torch.zeros(2))
    assert restored.shape == LQ.shape
    assert torch.equal(restored, model.restore(LQ, torch.zeros(2)))


@pytest.mark.parametrize("make", [bridge, conditional])
@pytest.mark.parametrize("condition", ["code", "picture"])
@pytest.mark.parametrize("blend", ["cosine", "gaussian"])
def test_tiles_of_a_network_that_sees_one_place_leave_no_trace(make, condition, blend):
    model = make(condition=condition, tile_blend=blend)
    whole = model.restore(LQ, torch.zeros(2))
    multiple = model.traits.size_multiple
    assert multiple == model.codec.factor
    model.backbone.seen.clear()
    tiled = model.apply_in_tiles(lambda y: model.restore(y, torch.zeros(2)), LQ, 12, 4, multiple=multiple)
    torch.testing.assert_close(tiled, whole, rtol=1e-4, atol=1e-5)
    assert {x[-1] for x, _ in model.backbone.seen} == {12 // model.codec.factor}


def test_the_loss_is_that_of_codes():
    model = bridge(loss={"type": "L2Loss"}, matching="output")
    found = model.losses(LQ, batch())["loss_bridge"]
    (x0, _), (mu, _) = model.codec.encode(GT), model.codec.encode(LQ)
    draws = BatchDraws(x0, 5, torch.arange(2))
    t, eps = draws.steps(model.scheduler.last_trained), draws.noise()
    out = model.backbone(model.scheduler.add_noise(x0, mu, eps, t), mu, t)
    torch.testing.assert_close(found, (out - eps).square().mean())


def test_resshift_sees_the_picture_beside_codes():
    backbone = {**SMALL["UNetModelSwin"], "type": "UNetModelSwin", "in_channels": 4, "out_channels": 4, "lq_size": 32}
    steps = {"type": "ResShift", "steps": 3}
    model = bridge(backbone=backbone, codec=KL, condition="picture", scheduler=steps)
    model.losses(LQ, batch())["loss_bridge"].backward()
    assert model.backbone.feature_extractor[0].weight.shape[1] == 3
    assert model.restore(LQ, torch.zeros(2)).shape == LQ.shape


def test_missing_pixels_beside_codes():
    swin = {**SMALL["UNetModelSwin"], "type": "UNetModelSwin", "in_channels": 4, "out_channels": 4}
    options = {"codec": KL, "scheduler": {"type": "ResShift", "steps": 2}, "missing": 1.0}
    model = bridge(backbone={**swin, "lq_size": 32, "cond_mask": True}, condition="picture", **options)
    lq = LQ.clone()
    lq[..., 4:9, 3:8] = 1
    restored = model.restore(lq, torch.zeros(2))
    known = (lq != 1).any(1, keepdim=True).expand_as(lq)
    assert torch.equal(restored[known], lq[known])
    with pytest.raises(ConfigError, match="condition='picture'"):
        bridge(backbone={**NAFNET, "img_channel": 4, "mask_nc": 1}, **options)


@torch.no_grad()
def test_a_sampling_may_begin_with_the_degraded_picture():
    seen = []
    model = conditional(start="degraded", codec="centred")
    model.call_network = lambda x, condition, level: seen.append(x) or torch.zeros_like(x)
    model.restore(LQ, torch.zeros(2))
    a, sigma = model.scheduler.marginal(8)
    noise = torch.randn(LQ.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(seen[0], a * to_centred(LQ) + sigma * noise)


def test_steps_may_be_counted_from_zero():
    told = []
    model = conditional(level={"type": "TimestepLevel", "offset": -1}, spacing="linspace", num_steps=3)
    model.call_network = lambda x, condition, level: told.extend(level.tolist()) or torch.zeros_like(x)
    model.restore(LQ[:1], torch.zeros(1))
    assert told == [7, 4, 0]


def test_what_does_not_go_together_is_named():
    with pytest.raises(ConfigError, match=r"model\.condition='latent'; expected one of code, picture"):
        bridge(condition="latent")
    with pytest.raises(ConfigError, match=r"model\.tile_blend='linear'; expected one of cosine, gaussian"):
        bridge(tile_blend="linear")
    with pytest.raises(ConfigError, match=r"model\.domain='image' is the earlier name"):
        bridge(domain="image")
    assert conditional().clip is None
    assert conditional(codec=None).clip == 1.0
