"""What the conditional restorer samples: of a Gaussian whose best network is known, guided, bounded, in tiles."""

import pytest
import torch
from conditional_case import SMALL_NET, LinearConditional, make

from dtir.diffusion.domain import to_centred, to_image
from dtir.registry import BACKBONES


@BACKBONES.register_module()
class TwoPredictions(LinearConditional):
    """A residual and a noise in one output of twice the channels, as DiffUIR's `pred_res_noise` asks for."""

    def forward(self, x, condition, level):
        return torch.cat([super().forward(x, condition, level), 3 * condition - x], dim=1)


def test_karras_spacing_of_a_sampling():
    model = make(num_steps=6, spacing="karras", scheduler={"type": "DDPMScheduler", "num_timesteps": 1000})
    model.restore(torch.rand(1, 3, 4, 4), torch.zeros(1))
    levels = [level.item() / 1000 for *_, level in model.backbone.seen]
    a, _ = model.scheduler.marginal(torch.tensor(model.scheduler.sample_steps(6, "karras")))
    assert levels == pytest.approx(a.flatten().tolist(), rel=1e-5)


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


def test_image_units_come_out():
    model = make("BestForGaussian", clip=None, num_steps=20)
    out = model.restore(torch.full((1, 3, 32, 32), 0.5 + 1e-6), torch.zeros(1))
    assert out.mean() == pytest.approx(to_image(torch.tensor(0.2)).item(), abs=0.01)
