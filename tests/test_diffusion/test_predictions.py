"""What networks predict: conversions, unit variance, published coefficients and weights."""

import pytest
import torch

from dtir.core.errors import ConfigError
from dtir.diffusion.predictions import PREDICTIONS, check_prediction, coefficients
from dtir.diffusion.samplers import HeunSampler
from dtir.diffusion.schedulers import DDPMScheduler, EDMScheduler

X0, EPS = torch.randn(2, 5, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
SIGMA = torch.tensor([0.002, 0.1, 0.7, 0.999, 80.0], dtype=torch.float64).view(-1, 1, 1, 1)
VP = (1 - SIGMA[:4] ** 2).sqrt()


def level(kind: str) -> tuple[torch.Tensor, torch.Tensor]:
    return (torch.ones_like(SIGMA), SIGMA) if kind == "exploding" else (VP, SIGMA[:4])


@pytest.mark.parametrize("process", ["exploding", "preserving"])
@pytest.mark.parametrize("kind", PREDICTIONS)
def test_an_output_on_target_tells_the_noise(kind, process):
    a, sigma = level(process)
    x0, eps = X0[: len(a)], EPS[: len(a)]
    x, of = a * x0 + sigma * eps, coefficients(kind, a, sigma)
    out = of.target(x0, eps)
    torch.testing.assert_close(of.eps(x, out), eps, rtol=1e-6, atol=1e-8)
    # An output that is wrong by one is wrong by the gain in the clean picture.
    wrong = (x - sigma * of.eps(x, out + 1)) / a
    torch.testing.assert_close((wrong - x0).abs(), of.gain.expand_as(x0), rtol=1e-6, atol=1e-6)


def test_edm_is_the_published_preconditioning():
    s, d = SIGMA, 0.5
    c_skip, c_out, c_in = d**2 / (s**2 + d**2), s * d / (s**2 + d**2).sqrt(), 1 / (s**2 + d**2).sqrt()
    of, x = coefficients("edm", torch.ones_like(s), s, d), X0 + s * EPS
    torch.testing.assert_close(of.scale, c_in)
    torch.testing.assert_close(of.target(X0, EPS), (X0 - c_skip * x) / c_out, rtol=1e-6, atol=1e-6)
    out = torch.randn(X0.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    torch.testing.assert_close(x - s * of.eps(x, out), c_skip * x + c_out * out, rtol=1e-6, atol=1e-8)
    # The published weight, 1 / c_out^2 of the error of x_0, is 1 of the output's.
    assert torch.equal(of.loss_weight(torch.ones_like(s), s, "uniform"), torch.ones(5, dtype=torch.float64))


def test_edm_of_a_preserving_process_with_unit_data_is_minus_v():
    v, edm = (coefficients(kind, VP, SIGMA[:4], 1.0) for kind in ("v", "edm"))
    torch.testing.assert_close(edm.target(X0[:4], EPS[:4]), -v.target(X0[:4], EPS[:4]))
    torch.testing.assert_close(edm.scale, torch.ones_like(VP))


@pytest.mark.parametrize("process", ["exploding", "preserving"])
def test_edms_inputs_and_targets_have_unit_variance(process):
    a, sigma = level(process)
    of = coefficients("edm", a, sigma, 0.5)
    # Of x_0 with a standard deviation of 0.5, independent of eps.
    one = torch.ones_like(a)
    torch.testing.assert_close(of.scale**2 * (a**2 * 0.25 + sigma**2), one)
    torch.testing.assert_close(of.target_x0**2 * 0.25 + of.target_eps**2, one)


def test_min_snr_weights_are_the_published_ones():
    snr, gamma = (VP / SIGMA[:4]).square().flatten(), 5.0
    bounded = snr.clamp(max=gamma)
    published = {"eps": bounded / snr, "x0": bounded, "v": bounded / (snr + 1)}
    for kind, expected in published.items():
        of = coefficients(kind, VP, SIGMA[:4])
        torch.testing.assert_close(of.loss_weight(VP, SIGMA[:4], "min_snr"), expected)
    steps = torch.arange(1, 51)
    scheduler = DDPMScheduler(50)
    a, sigma = scheduler.marginal(steps)
    torch.testing.assert_close(
        coefficients("eps", a, sigma).loss_weight(a, sigma, "min_snr"), scheduler.loss_weight(steps, "min_snr")
    )


def test_edms_levels_are_the_published_ones():
    """Table 1: 18 levels from 80 to 0.002, even in their seventh root."""
    scheduler = EDMScheduler()
    i = torch.arange(18, dtype=torch.float64)
    expected = (80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    found = torch.cat([scheduler.marginal(t)[1].flatten() for t in scheduler.sample_steps(18)])
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=0)
    a, sigma = scheduler.marginal(torch.tensor([0.5, 3.0]))
    assert sigma.flatten().tolist() == [0.5, 3.0]
    assert (a == 1).all()
    assert scheduler.marginal(0.25)[1].item() == 0.25
    with pytest.raises(ValueError, match=r"outside 0\.\.18"):
        scheduler.marginal(19)


@pytest.mark.parametrize("n", [1, 2, 7, 200, 1000])
def test_linspace_spacing_is_guided_diffusions(n):
    """`space_timesteps(1000, [n])` there, whose steps are counted from 0; one step alone is the last here."""
    steps = DDPMScheduler(num_timesteps=1000).sample_steps(n, "linspace")
    stride = 999 / (n - 1) if n > 1 else 1
    expected = sorted((round(k * stride) + 1 for k in range(n)), reverse=True) if n > 1 else [1000]
    assert steps == expected
    assert (steps[0], steps[-1]) == (1000, 1 if n > 1 else 1000)


def test_karras_spacing_is_even_in_a_root_of_the_noise():
    scheduler = DDPMScheduler(1000, train_timesteps=1000)
    steps = scheduler.sample_steps(12, "karras")
    assert steps[0] == 1000
    assert steps[-1] == 1
    a, sigma = (value.flatten().double() for value in scheduler.marginal(torch.tensor(steps)))
    gaps = (sigma / a).pow(1 / 7).diff()
    assert gaps.std() < 0.1 * gaps.mean().abs()
    # Each step once, where the schedule is coarser than what is asked for.
    few = DDPMScheduler(10).sample_steps(10, "karras")
    assert few == sorted(set(few), reverse=True)
    assert scheduler.sample_steps(4, "trailing") == scheduler.sample_steps(4) == [1000, 750, 500, 250]
    with pytest.raises(ConfigError, match="spacing='even'; expected one of trailing, linspace, karras"):
        scheduler.sample_steps(4, "even")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("noise", "uniform", 0.5), "predicts='noise'; expected one of eps, x0, v, edm"),
        (("v", "snr", 0.5), "loss_weight='snr'; expected one of uniform, min_snr"),
        (("v", "uniform", 0.0), "sigma_data=0"),
    ],
)
def test_wrong_settings_are_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        check_prediction(*settings)


def test_churn_needs_levels_between_the_steps():
    with pytest.raises(ConfigError, match="churn=-1"):
        HeunSampler(-1.0)
    with pytest.raises(ConfigError, match="DDPMScheduler has none"):
        HeunSampler(2.0).sample(lambda x, t: x, DDPMScheduler(10), X0)
