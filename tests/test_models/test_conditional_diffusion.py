"""The conditional restorer: its loss, and samples of a Gaussian whose best network is known."""

import pytest
import torch
from torch import nn

from dtir.core.errors import ConfigError
from dtir.core.seeding import derive_seed
from dtir.diffusion.domain import to_centred, to_image
from dtir.diffusion.predictions import coefficients
from dtir.models import ConditionalDiffusionRestorer
from dtir.models.backbones.traits import Traits
from dtir.registry import BACKBONES, LEVELS, RESTORERS
from dtir.testing.small_backbones import SMALL

SHORT = {"type": "DDPMScheduler", "num_timesteps": 20}
SMALL_NET = {"type": "ConditionalNAFNet", "width": 4, "enc_blk_nums": [1], "dec_blk_nums": [1]}


@BACKBONES.register_module()
class LinearConditional(nn.Module):
    """x / 2 - condition / 4 + level / 2000, pixel by pixel; keeps what it is given."""

    traits = Traits(size_multiple=1)

    def __init__(self) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))
        self.seen: list[tuple[torch.Tensor, ...]] = []

    def forward(self, x, condition, level):
        self.seen.append((x, condition, level))
        return x / 2 - condition / 4 + level.view(-1, 1, 1, 1) / 2000 + self.bias


@BACKBONES.register_module()
class TwoPredictions(LinearConditional):
    """A residual and a noise in one output of twice the channels, as DiffUIR's `pred_res_noise` asks for."""

    def forward(self, x, condition, level):
        return torch.cat([super().forward(x, condition, level), 3 * condition - x], dim=1)


@BACKBONES.register_module()
class BestForGaussian(nn.Module):
    """The exact noise where x_0 given y is Gaussian of mean (y + y_0) / 2 and deviation s; y = 0 is no condition.

    With no condition the mean is 0. The level is 1000 a.
    """

    def __init__(self, s: float = 0.2) -> None:
        super().__init__()
        self.s = s

    def forward(self, x, condition, level):
        a = level.view(-1, 1, 1, 1) / 1000
        variance = 1 - a**2
        mean = condition / 2 + 0.2 * (condition != 0)
        return (x - a * mean) * variance.sqrt() / (a**2 * self.s**2 + variance)


def make(backbone="LinearConditional", **options) -> ConditionalDiffusionRestorer:
    network = {"type": backbone} if isinstance(backbone, str) else backbone
    config = {"type": "ConditionalDiffusionRestorer", "backbone": network, "tasks": ["hazy"], "scheduler": SHORT}
    return RESTORERS.build({"num_steps": 4, **config, **options})


def batch(size: int = 4, side: int = 6) -> tuple[torch.Tensor, dict]:
    lq, gt = torch.rand(2, size, 3, side, side, generator=torch.Generator().manual_seed(1))
    samples = {"gt": gt, "task": torch.zeros(size).long(), "num_generative": 0, "slots": torch.arange(size)}
    return lq, {**samples, "noise_seed": 5}


def by_hand(lq, gt, discrete: bool):
    """x_t, condition, level and noise of a batch, from the seed of the batch and the equations."""
    generator = torch.Generator().manual_seed(derive_seed(5))
    size = len(lq)
    t = torch.randint(1, 21, (size,), generator=generator)
    u = torch.rand(size, generator=generator)
    torch.rand(size, generator=generator)
    eps = torch.randn(lq.shape, generator=generator)
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    roots = torch.cat([torch.ones(1), (1 - betas).cumprod(0)[49::50].sqrt()])
    a = roots[t] if discrete else u * roots[t - 1] + (1 - u) * roots[t]
    wide = a.view(-1, 1, 1, 1)
    x_t = wide * (2 * gt - 1) + (1 - wide**2).sqrt() * eps
    return x_t.float(), 2 * lq - 1, t if discrete else (1000 * a).float(), eps


@pytest.mark.parametrize(("level", "discrete"), [("TimestepLevel", True), ("NoiseLevel", False)])
def test_loss_is_that_of_the_equations(level, discrete):
    lq, samples = batch()
    x_t, condition, expected_level, eps = by_hand(lq, samples["gt"], discrete)
    model = make(level={"type": level})
    loss = model(lq, samples, mode="loss")
    ((seen_x, seen_condition, seen_level),) = model.backbone.seen
    torch.testing.assert_close(seen_x, x_t, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen_condition, condition)
    torch.testing.assert_close(seen_level, expected_level)
    out = x_t / 2 - condition / 4 + expected_level.view(-1, 1, 1, 1) / 2000
    assert list(loss) == ["loss_noise"]
    torch.testing.assert_close(loss["loss_noise"], (out - eps).square().mean(), rtol=1e-4, atol=1e-5)
    absolute = make(level={"type": level}, loss={"type": "L1Loss"})(lq, samples, mode="loss")["loss_noise"]
    torch.testing.assert_close(absolute, (out - eps).abs().mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["x0", "v", "edm"])
def test_the_loss_of_other_predictions_by_hand(kind):
    lq, samples = batch()
    x_t, condition, level, eps = by_hand(lq, samples["gt"], discrete=False)
    a, x0 = (level / 1000).view(-1, 1, 1, 1), 2 * samples["gt"] - 1
    sigma = (1 - a**2).sqrt()
    total = a**2 * 0.36 + sigma**2
    targets = {"x0": x0, "v": a * eps - sigma * x0, "edm": (sigma / 0.6 * x0 - a * 0.6 * eps) / total.sqrt()}
    weights = {"x0": 1, "v": 1 / (a**2 / sigma**2 + 1), "edm": sigma**2 * 0.36 / total}
    seen = x_t / total.sqrt() if kind == "edm" else x_t
    error = (seen / 2 - condition / 4 + level.view(-1, 1, 1, 1) / 2000 - targets[kind]).square()
    plain, weighted = (
        make(predicts=kind, sigma_data=0.6, loss_weight=weight)(lq, samples, mode="loss")["loss_noise"]
        for weight in ("uniform", "min_snr")
    )
    torch.testing.assert_close(plain, error.mean(), rtol=1e-3, atol=1e-4)
    bounded = (a**2 / sigma**2).clamp(max=5) * weights[kind]
    torch.testing.assert_close(weighted, (bounded * error).mean(), rtol=1e-3, atol=1e-4)


@BACKBONES.register_module()
class OtherPrediction(nn.Module):
    """`BestForGaussian` as a network that predicts something else."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.best = kind, BestForGaussian()

    def forward(self, x, condition, level):
        a = level.view(-1, 1, 1, 1) / 1000
        of = coefficients(self.kind, a, (1 - a**2).sqrt())
        state = x / of.scale
        return (self.best(state, condition, level) - of.eps_x * state) / of.eps_out


@pytest.mark.parametrize("kind", ["x0", "v", "edm"])
def test_other_predictions_sample_the_same(kind):
    lq = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(4))
    options = {"clip": 1.0, "num_steps": 10}
    expected = make("BestForGaussian", **options).restore(lq, torch.zeros(2))
    found = make({"type": "OtherPrediction", "kind": kind}, predicts=kind, **options).restore(lq, torch.zeros(2))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@BACKBONES.register_module()
class BestPreconditioned(nn.Module):
    """The exact output of EDM where x_0 given y is N(y / 2, 0.2^2); it is told 250 log sigma."""

    def forward(self, x, condition, level):
        sigma = (level / 250).exp().view(-1, 1, 1, 1)
        of = coefficients("edm", torch.ones_like(sigma), sigma)
        state = x / of.scale
        eps = sigma * (state - condition / 2) / (0.04 + sigma**2)
        return (eps - of.eps_x * state) / of.eps_out


@pytest.mark.parametrize(
    "sampler", [{"type": "HeunSampler"}, {"type": "HeunSampler", "churn": 10.0}, {"type": "UniPCSampler"}], ids=str
)
def test_edm_trains_and_samples_the_conditional_distribution(sampler):
    options = {"level": {"type": "LogNormalLevel"}, "predicts": "edm", "clip": None, "num_steps": None}
    scheduler = {"type": "EDMScheduler", "num_timesteps": 60}
    model = make("BestPreconditioned", scheduler=scheduler, sampler=sampler, **options)
    lq = torch.full((1, 3, 64, 64), 0.8)
    samples = to_centred(model.restore(lq, torch.zeros(1)))
    assert samples.mean() == pytest.approx(0.3, abs=0.01)
    assert samples.std() == pytest.approx(0.2, rel=0.03)
    # Of pictures of that law, no scaling of the exact output has a smaller loss.
    gt = 0.5 + 0.15 + 0.1 * torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    data = {**batch(64, 8)[1], "gt": gt}
    exact = model.call_network
    losses = []
    for factor in (0.9, 1.0, 1.1):
        model.call_network = lambda *args, factor=factor: factor * exact(*args)
        losses.append(model.losses(torch.full((64, 3, 8, 8), 0.8), data)["loss_noise"].item())
    assert losses[1] < min(losses[0], losses[2])


def test_levels_of_edm_are_log_normal():
    level, u = LEVELS.build({"type": "LogNormalLevel"}), torch.rand(20000, generator=torch.Generator().manual_seed(0))
    a, sigma, told = level.draw(None, torch.ones(20000).long(), torch.cat([u[1:], torch.zeros(1)]))
    logarithm = sigma.flatten().log()
    assert (a == 1).all()
    assert logarithm.isfinite().all()
    assert logarithm.mean() == pytest.approx(-1.2, abs=0.03)
    assert logarithm.std() == pytest.approx(1.2, abs=0.03)
    torch.testing.assert_close(told, 250 * logarithm, rtol=1e-5, atol=1e-3)


def test_karras_spacing_of_a_sampling():
    model = make(num_steps=6, spacing="karras", scheduler={"type": "DDPMScheduler", "num_timesteps": 1000})
    model.restore(torch.rand(1, 3, 4, 4), torch.zeros(1))
    levels = [level.item() / 1000 for *_, level in model.backbone.seen]
    a, _ = model.scheduler.marginal(torch.tensor(model.scheduler.sample_steps(6, "karras")))
    assert levels == pytest.approx(a.flatten().tolist(), rel=1e-5)


def test_dropped_conditions_are_grey_and_of_the_right_share():
    lq, samples = batch(size=4000, side=1)
    plain, dropping = make(), make(condition_dropout=0.1)
    plain(lq, samples, mode="loss")
    dropping(lq, samples, mode="loss")
    (x, condition, level), (same_x, partial, same_level) = plain.backbone.seen[0], dropping.backbone.seen[0]
    dropped = (partial == 0).flatten(1).all(1)
    assert dropped.float().mean() == pytest.approx(0.1, abs=0.015)
    assert torch.equal(partial[~dropped], condition[~dropped])
    assert torch.equal(x, same_x)
    assert torch.equal(level, same_level)


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


def test_parts_of_a_step_draw_what_the_whole_draws():
    lq, samples = batch(8)
    one = make(condition_dropout=0.5)
    one(lq, samples, mode="loss")
    parts = []
    for place in range(2):
        half = slice(4 * place, 4 * place + 4)
        two = make(condition_dropout=0.5)
        two(
            lq[half],
            {**samples, "gt": samples["gt"][half], "slots": torch.arange(8)[half], "step_size": 8},
            mode="loss",
        )
        parts.append(two.backbone.seen[0])
    for whole, halves in zip(one.backbone.seen[0], zip(*parts, strict=True), strict=True):
        assert torch.equal(whole, torch.cat(halves))


@pytest.mark.parametrize(
    ("sampler", "steps", "sampling"),
    [
        ({"type": "AncestralSampler"}, 1000, None),
        ({"type": "DDIMSampler"}, 100, None),
        ({"type": "DDIMSampler", "eta": 1.0}, 200, None),
        ({"type": "DPMSolverPP2M"}, 40, None),
        ({"type": "AncestralSampler"}, None, {"num_timesteps": 200, "train_timesteps": 200, "beta_end": 0.09}),
    ],
)
def test_the_best_network_samples_the_conditional_distribution(sampler, steps, sampling):
    model = make(
        "BestForGaussian",
        scheduler={"type": "DDPMScheduler", "num_timesteps": 1000},
        sampler=sampler,
        num_steps=steps,
        sampling_scheduler=sampling and {"type": "DDPMScheduler", **sampling},
        clip=None,
    )
    lq = torch.stack([torch.full((3, 64, 64), value) for value in (0.2, 0.9)])
    samples = to_centred(model.restore(lq, torch.zeros(2)))
    for sample, y in zip(samples, to_centred(lq), strict=True):
        assert sample.mean() == pytest.approx(y.mean().item() / 2 + 0.2, abs=0.01)
        # Few steps narrow the spread a little, whatever the sampler.
        assert sample.std() == pytest.approx(0.2, rel=0.03 if steps == 1000 else 0.12)


def test_guidance_moves_the_mean_away_from_the_unconditional_one():
    lq = torch.full((1, 3, 48, 48), 0.8)
    options = {"num_steps": 20, "clip": None, "condition_dropout": 0.1}
    means = [
        to_centred(make("BestForGaussian", guidance_scale=w, **options).restore(lq, torch.zeros(1))).mean().item()
        for w in (0.0, 1.0, 2.0)
    ]
    assert means == pytest.approx([0.0, 0.5, 1.0], abs=0.02)


def test_a_guidance_of_one_is_the_plain_network_at_half_the_evaluations():
    torch.manual_seed(0)
    plain, guided, almost = (make(SMALL_NET, condition_dropout=0.1, guidance_scale=w) for w in (1, 3.0, 1 + 1e-7))
    for model in (guided, almost):
        model.load_state_dict(plain.state_dict())
    lq = torch.rand(2, 3, 9, 10)
    first, stronger, near = (model.restore(lq, torch.zeros(2)) for model in (plain, guided, almost))
    assert [model.num_evals for model in (plain, guided, almost)] == [4, 8, 8]
    torch.testing.assert_close(near, first, rtol=0, atol=1e-4)
    assert not torch.allclose(stronger, first, atol=1e-4)


def test_both_evaluations_of_guidance_are_one_call():
    model = make(condition_dropout=0.1, guidance_scale=2.0, num_steps=3)
    lq = torch.rand(2, 3, 4, 4)
    model.restore(lq, torch.zeros(2))
    assert len(model.backbone.seen) == 3
    x, condition, _ = model.backbone.seen[0]
    assert torch.equal(x[:2], x[2:])
    torch.testing.assert_close(condition, torch.cat([2 * lq - 1, torch.zeros_like(lq)]))


def test_clipping_bounds_the_prediction_and_leaves_the_rest_alone():
    lq = torch.rand(1, 3, 8, 8)
    free, wide = make(clip=None).restore(lq, torch.zeros(1)), make(clip=1e6).restore(lq, torch.zeros(1))
    assert torch.equal(free, wide)
    assert (free - 0.5).abs().max() > 0.5
    clipped = make().restore(lq, torch.zeros(1))
    assert (clipped - 0.5).abs().max() <= 0.5 + 1e-5


def test_prediction_runs_the_sampler_from_the_seed():
    lq = torch.randint(0, 256, (3, 11, 20), dtype=torch.uint8)
    model = make(SMALL_NET).eval()
    torch.manual_seed(3)
    (first,), (again,) = (model([lq], [{"task": 0, "name": "a"}], mode="predict") for _ in range(2))
    assert torch.equal(first["pred"], again["pred"])
    assert first["num_evals"] == 4
    assert first["name"] == "a"
    assert first["pred"].shape == lq.shape
    torch.testing.assert_close(first["pred"], model.restore(lq[None] / 255, torch.zeros(1))[0].clamp(0, 1))
    model.seed = 1
    assert not torch.equal(model([lq], [{"task": 0}], mode="predict")[0]["pred"], first["pred"])


def test_first_state_is_noise_and_steps_are_those_asked_for():
    model = make(level={"type": "TimestepLevel"}, num_steps=5, clip=None)
    model.restore(torch.rand(1, 3, 40, 40), torch.zeros(1))
    x = model.backbone.seen[0][0]
    assert x.std() == pytest.approx(1, abs=0.03)
    assert [level.item() for *_, level in model.backbone.seen] == [20, 16, 12, 8, 4]
    every = make(num_steps=None)
    every.restore(torch.rand(1, 3, 4, 4), torch.zeros(1))
    assert every.num_evals == 20


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_tiles_share_the_noise_of_the_picture(guidance):
    options = {"condition_dropout": 0.1, "guidance_scale": guidance}
    whole, tiled = make(**options), make(tile=16, tile_overlap=4, **options)
    lq = torch.randint(0, 256, (3, 40, 24), dtype=torch.uint8)
    expected = whole([lq], [{"task": 0}], mode="predict")[0]
    found = tiled([lq], [{"task": 0}], mode="predict")[0]
    torch.testing.assert_close(found["pred"], expected["pred"], rtol=0, atol=1e-5)
    assert found["num_evals"] == expected["num_evals"]
    assert max(x.shape[-1] for x, *_ in tiled.backbone.seen) == 16


def test_tiles_keep_both_outputs_of_a_network_with_two():
    model = make("TwoPredictions")
    x, condition = torch.rand(2, 1, 3, 40, 24, generator=torch.Generator().manual_seed(2))
    level = torch.tensor([500.0])
    expected = model.evaluate(x, condition, level)
    assert expected.shape == (1, 6, 40, 24)
    found = model.apply_in_tiles(lambda y: model.evaluate(x, y, level), condition, tile=16, overlap=4)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert max(seen.shape[-1] for seen, *_ in model.backbone.seen[1:]) == 16


def test_state_dict_is_the_backbones_and_the_tasks():
    keys = set(make().state_dict())
    assert keys == {"matched_t", "backbone.bias"}
    assert make().num_timesteps == 0


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    model = make({"type": "ConditionalUNet", "nf": 8, "depth": 2}, condition_dropout=0.5)
    lq, samples = batch(4, side=8)
    model(lq, samples, mode="loss")["loss_noise"].backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "TinyBackbone"}, r"TinyBackbone takes \(x\); expected a conditional network"),
        ({"sampler": {"type": "PosteriorSampler"}}, "PosteriorSampler runs a process from the degraded picture"),
        ({"num_steps": 21}, "cannot take 21 steps from a schedule of 20"),
        ({"num_steps": 0}, "cannot take 0 steps from a schedule of 20"),
        ({"condition_dropout": 1.0}, r"condition_dropout=1\.0 must be a number in \[0, 1\)"),
        ({"guidance_scale": 2.0}, "trained without its condition"),
        ({"missing": 1.0, "backbone": SMALL_NET}, r"missing=1\.0 needs a network that is given a mask; set mask_nc=1"),
        ({"predicts": "score"}, "predicts='score'; expected one of eps, x0, v, edm"),
        ({"spacing": "even"}, "spacing='even'"),
        ({"start": "lq"}, r"model\.start='lq'; expected one of noise, degraded"),
        ({"clip": "no"}, r"model\.clip='no'"),
        ({"codec": "image", "clip": 1.0}, r"codes have no bounds"),
        ({"level": {"type": "LogNormalLevel"}}, "LogNormalLevel draws noise for a process that keeps the picture"),
        ({"missing": -1.0}, r"missing=-1\.0 must be a value in \[0, 1\]"),
        ({"missing": 1.0, "condition_dropout": 0.1}, "set condition_dropout=0"),
        ({"level": {"type": "TimestepLevel"}, "sampling_scheduler": SHORT}, "knows its own schedule only"),
    ],
)
def test_wrong_settings_are_named(options, message):
    import dtir.testing  # noqa: F401

    with pytest.raises(ConfigError, match=message):
        make(**options)


def test_generative_samples_are_refused():
    lq, samples = batch()
    with pytest.raises(ConfigError, match="ConditionalDiffusionRestorer has no generative objective"):
        make()(lq, {**samples, "num_generative": 1}, mode="loss")


def test_image_units_come_out():
    model = make("BestForGaussian", clip=None, num_steps=20)
    out = model.restore(torch.full((1, 3, 32, 32), 0.5 + 1e-6), torch.zeros(1))
    assert out.mean() == pytest.approx(to_image(torch.tensor(0.2)).item(), abs=0.01)
