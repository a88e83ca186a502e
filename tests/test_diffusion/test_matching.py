import itertools
import json
import math

import pytest
import torch

from dtir.core.errors import ConfigError, TaskError
from dtir.diffusion import DDPMScheduler, MatchingCurve, distinct_steps, match_timestep, to_centred, to_image
from dtir.diffusion.matching import MATCHING_METHODS, psnr, score_pairs, subtract

TAU = 0.4


@pytest.fixture(scope="module")
def scheduler() -> DDPMScheduler:
    return DDPMScheduler()


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(11)


def wiener(scheduler):
    """Exact E[eps | x_t] for pictures of independent pixels N(0, TAU^2), centred."""

    def predict_residual(y, t):
        a, sigma = scheduler.marginal(t)
        return sigma * to_centred(y) / (a**2 * TAU**2 + sigma**2)

    return predict_residual


def unit_residual(y, t):
    """Exact noise of a picture of one grey, up to its scale, which is 1 in units of eps."""
    noise = y - y.mean(dim=(1, 2, 3), keepdim=True)
    return noise / noise.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()


def unit_noise(shape, generator):
    return unit_residual(torch.randn(shape, generator=generator), None)


def gaussian_pictures(generator, n=6):
    return to_image(TAU * torch.randn(n, 3, 32, 32, generator=generator))


def curve(task="hazy", scores=((1.0, 3.0, 2.0), (2.0, 2.0, 3.0)), timesteps=(0, 5, 9), **kwargs):
    settings = dict(method="subtract", metric="psnr") | kwargs
    return MatchingCurve(task, list(timesteps), [list(row) for row in scores], **settings)


# Exact checks


@pytest.mark.parametrize("method", ["subtract", "predict_x0"])
def test_noise_of_50_of_255_matches_step_6_with_the_exact_denoiser(scheduler, generator, method):
    gt = gaussian_pictures(generator)
    lq = gt + 50 / 255 * torch.randn(gt.shape, generator=generator)
    result = match_timestep(wiener(scheduler), scheduler, lq, gt, task="noisy", method=method)
    assert result.t_star == 6
    assert result.gain > 1


@pytest.mark.parametrize("t", [1, 3, 6, 12, 25, 40])
def test_each_noise_level_matches_its_own_step_on_one_grey(scheduler, generator, t):
    gt = torch.full((2, 3, 16, 16), 0.5)
    lq = gt + scheduler.noise_scale(t) * unit_noise(gt.shape, generator)
    result = match_timestep(unit_residual, scheduler, lq, gt, timesteps=range(1, 51))
    assert result.t_star == t


def test_predict_x0_matches_the_step_that_made_the_picture(scheduler, generator):
    gt = gaussian_pictures(generator, 16)
    for t in (2, 6, 15):
        lq = to_image(scheduler.add_noise(to_centred(gt), torch.randn(gt.shape, generator=generator), t))
        scores = match_timestep(wiener(scheduler), scheduler, lq, gt, method="predict_x0")
        assert abs(scores.t_star - t) <= 1


def test_subtract_curve_in_closed_form(scheduler):
    """A residual of 1 everywhere on a grey that is too bright by d leaves the error d - s_t."""
    gt, d = torch.full((1, 3, 4, 4), 0.5), 0.2
    result = match_timestep(lambda y, t: torch.ones_like(y), scheduler, gt + d, gt)
    expected = -20 * (d - scheduler.noise_scale(torch.arange(51)).flatten()).abs().log10()
    torch.testing.assert_close(torch.tensor(result.mean), expected, atol=1e-3, rtol=0)
    assert result.t_star == scheduler.nearest_timestep(d)


def test_predict_x0_divides_by_the_mean_coefficient(scheduler):
    gt = torch.full((1, 3, 4, 4), 0.75)
    a = scheduler.marginal(20)[0]
    result = match_timestep(
        lambda y, t: torch.zeros_like(y), scheduler, to_image(a * to_centred(gt)), gt, method="predict_x0"
    )
    assert result.t_star == 20
    assert result.mean[20] == pytest.approx(100)


def test_diffuse_reverse_of_the_exact_denoiser_of_one_picture_is_that_picture(scheduler, generator):
    gt = torch.rand(1, 3, 8, 8, generator=generator)

    def predict_residual(y, t):
        return scheduler.eps_from_x0(to_centred(y), to_centred(gt), t)

    lq = torch.rand(1, 3, 8, 8, generator=generator)
    result = match_timestep(predict_residual, scheduler, lq, gt, method="diffuse_reverse", timesteps=[0, 1, 7, 30])
    assert result.scores[0][0] == pytest.approx(psnr(lq, gt).item())
    assert min(result.scores[0][1:]) > 80


def test_diffuse_reverse_evaluates_at_most_the_steps_allowed(scheduler):
    seen = []

    def predict_residual(y, t):
        seen.append(t[0].item())
        return torch.zeros_like(y)

    pictures = torch.full((1, 3, 2, 2), 0.5)
    settings = dict(method="diffuse_reverse", timesteps=[2, 10])
    match_timestep(predict_residual, scheduler, pictures, pictures, max_reverse_steps=4, **settings)
    assert seen == [2, 1, 10, 8, 5, 3]
    seen.clear()
    match_timestep(predict_residual, scheduler, pictures, pictures, **settings)
    assert seen == [2, 1, *range(10, 0, -1)]


# Scoring


def test_step_0_is_the_picture_itself_and_needs_no_network(scheduler, generator):
    gt, lq = torch.rand(2, 3, 8, 8, generator=generator), torch.rand(2, 3, 8, 8, generator=generator)

    def no_network(y, t):
        raise AssertionError("t = 0 must not reach the network")

    for method in MATCHING_METHODS:
        result = match_timestep(no_network, scheduler, lq, gt, method=method, timesteps=[0])
        assert result.scores == [[pytest.approx(value)] for value in psnr(lq, gt).tolist()]


def test_estimates_are_clipped_before_scoring(scheduler):
    white = torch.ones(1, 3, 4, 4)
    result = match_timestep(lambda y, t: -torch.ones_like(y), scheduler, white, white, timesteps=[30])
    assert result.mean == [pytest.approx(100)]


def test_psnr_is_per_picture_and_bounded():
    gt = torch.full((2, 3, 4, 4), 0.5)
    pred = gt.clone()
    pred[1] += 0.1
    torch.testing.assert_close(psnr(pred, gt), torch.tensor([100.0, 20.0]))


def test_result_does_not_depend_on_the_batch_size_and_leaves_the_global_state(scheduler, generator):
    gt = gaussian_pictures(generator, 5).clamp(0, 1)
    lq, state, ticks = gt * 0.5, torch.get_rng_state(), []
    steps = dict(timesteps=[0, 3, 8], method="diffuse_reverse")
    whole = match_timestep(wiener(scheduler), scheduler, lq, gt, batch_size=5, **steps)
    split = match_timestep(
        wiener(scheduler), scheduler, lq, gt, batch_size=2, callback=lambda *a: ticks.append(a), **steps
    )
    torch.testing.assert_close(torch.tensor(whole.scores), torch.tensor(split.scores), atol=1e-4, rtol=0)
    assert ticks == [(i, 9) for i in range(1, 10)]
    assert torch.equal(torch.get_rng_state(), state)


def test_metric_may_be_a_function(scheduler):
    def negated_l1(pred, gt):
        return -(pred - gt).abs().mean(dim=(1, 2, 3))

    gt = torch.full((2, 3, 4, 4), 0.5)
    result = match_timestep(lambda y, t: torch.ones_like(y), scheduler, gt + 0.2, gt, metric=negated_l1)
    assert result.metric == "negated_l1"
    assert result.t_star == scheduler.nearest_timestep(0.2)


def test_scoring_never_waits_for_the_device():
    scheduler, y = DDPMScheduler().to("meta"), torch.empty(2, 3, 4, 4, device="meta")
    for method in MATCHING_METHODS.values():
        scores = score_pairs(
            lambda y, t, eps, method=method: method(lambda x, t: x * 0.5, scheduler, y, t, eps),
            psnr,
            [(y, y)] * 2,
            [0, 4],
        )
        assert scores.shape == (4, 2)


def test_users_may_add_a_method(scheduler, monkeypatch):
    def halved(predict_residual, scheduler, y, t, eps, share=0.5):
        return y + share * (subtract(predict_residual, scheduler, y, t, eps) - y)

    monkeypatch.setitem(MATCHING_METHODS, "halved", halved)
    gt = torch.full((1, 3, 4, 4), 0.5)
    result = match_timestep(lambda y, t: torch.ones_like(y), scheduler, gt + 0.2, gt, method="halved", share=0.6)
    assert result.t_star == scheduler.nearest_timestep(0.2 / 0.6)


# Curves


def test_curve_statistics():
    result = curve()
    assert result.mean == [1.5, 2.5, 2.5]
    assert result.std == [0.5, 0.5, 0.5]
    assert result.t_star == 5
    assert result.gain == 1.0
    assert result.num_images == 2


def test_curve_survives_json():
    result = curve()
    assert MatchingCurve.from_dict(json.loads(json.dumps(result.to_dict()))) == result
    assert result.to_dict()["t_star"] == 5


def test_merge_does_not_depend_on_how_pictures_were_split(generator):
    scores = (torch.rand(9, 3, generator=generator, dtype=torch.float64) * 40).tolist()
    whole = curve(scores=scores)
    parts = [curve(scores=scores[i::4]) for i in (2, 0, 3, 1)]
    merged = MatchingCurve.merge(parts)
    assert (merged.mean, merged.std, merged.t_star) == (whole.mean, whole.std, whole.t_star)
    assert merged.num_images == 9


@pytest.mark.parametrize("other", [dict(task="rainy"), dict(timesteps=(0, 5, 8)), dict(metric="lpips")])
def test_merge_refuses_curves_of_another_kind(other):
    with pytest.raises(TaskError, match="must agree"):
        MatchingCurve.merge([curve(), curve(**other)])
    with pytest.raises(TaskError, match="none"):
        MatchingCurve.merge([])


# Errors


def test_scores_that_are_not_finite_name_task_and_steps(scheduler):
    def diverged(y, t):
        return torch.full_like(y, math.nan)

    gt = torch.full((2, 3, 4, 4), 0.5)
    with pytest.raises(TaskError, match=r"task 'snowy'.*not finite at t = 4, 5"):
        match_timestep(diverged, scheduler, gt, gt, task="snowy", timesteps=[0, 4, 5])


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(method="substract"), "unknown matching method 'substract': expected one of subtract"),
        (dict(metric="ssim"), "unknown matching metric 'ssim'"),
        (dict(max_reverse_steps=3), "unknown option 'max_reverse_steps' of matching method 'subtract'"),
        (dict(timesteps=[3, 2]), "ascending steps of 0..50"),
        (dict(timesteps=[51]), "ascending steps of 0..50"),
        (dict(timesteps=[]), "ascending steps of 0..50"),
        (dict(method="diffuse_reverse", max_reverse_steps=0), "cannot take 0 steps"),
    ],
)
def test_bad_settings_name_the_value(scheduler, kwargs, message):
    gt = torch.full((1, 3, 2, 2), 0.5)
    with pytest.raises(ConfigError, match=message):
        match_timestep(lambda y, t: y, scheduler, gt, gt, **kwargs)


@pytest.mark.parametrize(
    ("lq", "gt"),
    [
        (torch.zeros(2, 3, 4, 4), torch.zeros(1, 3, 4, 4)),
        (torch.zeros(0, 3, 4, 4), torch.zeros(0, 3, 4, 4)),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), torch.zeros(1, 3, 4, 4)),
    ],
)
def test_unusable_pictures_name_the_task(scheduler, lq, gt):
    with pytest.raises(TaskError, match=r"task 'hazy'.*expected float pictures"):
        match_timestep(lambda y, t: y, scheduler, lq, gt, task="hazy")


def test_distinct_steps_have_the_largest_total_score():
    curves = [
        curve("noisy", [[0.0, 3.0, 5.0, 4.0]], (0, 1, 2, 3)),
        curve("hazy", [[9.0, 8.0, 0.0, 0.0]], (0, 1, 2, 3)),
        curve("rainy", [[7.0, 2.0, 6.9, 0.0]], (0, 1, 2, 3)),
    ]
    steps = distinct_steps(curves)
    assert len(set(steps.values())) == 3
    scores = {c.task: dict(zip(c.timesteps, c.mean, strict=True)) for c in curves}
    best = max(
        sum(scores[c.task][t] for c, t in zip(curves, chosen, strict=True))
        for chosen in itertools.permutations(curves[0].timesteps, 3)
    )
    assert sum(scores[task][t] for task, t in steps.items()) == best
    assert distinct_steps(curves[:2]) == {c.task: c.t_star for c in curves[:2]}
    assert distinct_steps(curves, first=1) == {"noisy": 3, "hazy": 1, "rainy": 2}
    with pytest.raises(ConfigError, match="3 tasks cannot have distinct steps out of 2 from 2 on"):
        distinct_steps(curves, first=2)
    with pytest.raises(ConfigError, match="5 tasks cannot have distinct steps out of 4 from 0 on"):
        distinct_steps([curve(str(k), [[0.0, 1.0, 2.0, 3.0]], (0, 1, 2, 3)) for k in range(5)])


def test_peak_from_a_first_step_on():
    hazy = curve("hazy", [[9.0, 7.0, 8.0, 8.0]], (0, 1, 2, 3))
    assert [hazy.peak(first) for first in range(4)] == [0, 2, 2, 3]
    assert hazy.peak() == hazy.t_star
    with pytest.raises(ConfigError, match="task 'hazy': no step from 4 on; the last is 3"):
        hazy.peak(4)
