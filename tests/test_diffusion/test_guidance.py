"""Guidance against the exact posterior of a Gaussian prior with independent pixels, N(MEAN, SPREAD^2)."""

import pytest
import torch

from dtir.core.errors import ConfigError
from dtir.diffusion.guidance import DDNM, DDRM, DPS, ILVR, MCG, PiGDM, RePaint
from dtir.diffusion.operators import (
    AverageDownsampling,
    BicubicDownsampling,
    CircularBlur,
    Colorization,
    Inpainting,
    WalshHadamard,
    gaussian_kernel,
)
from dtir.diffusion.samplers.base import Run
from dtir.diffusion.schedulers import VPSDE
from dtir.registry import GUIDANCE

MEAN, SPREAD = 0.2, 0.5
MASK = (torch.arange(64).view(8, 8) % 3 > 0).double()
OPERATORS = {
    "average": AverageDownsampling(2),
    "bicubic": BicubicDownsampling(2, 8, 8),
    "inpainting": Inpainting(MASK),
    "colorization": Colorization(),
    "blur": CircularBlur(gaussian_kernel(1.0, 5)),
    "sensing": WalshHadamard(8, 8, 0.4),
}
EVERY = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)


def scheduler(n: int = 400) -> VPSDE:
    return VPSDE(N=n).double()


def denoiser(process: VPSDE):
    def eps(x, t):
        a, sigma = process.marginal(t[:1])
        return sigma * (x - a * MEAN) / (a**2 * SPREAD**2 + sigma**2)

    return eps


def truth(n: int) -> torch.Tensor:
    noise = torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return MEAN + SPREAD * noise


def sample(guided, process, n: int, start: torch.Tensor | None = None) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    if start is None:
        start = torch.randn(n, 3, 8, 8, generator=generator, dtype=torch.float64)
    return guided.sample(denoiser(process), process, start, generator=generator).sample


def noisy_measurements(operator, n: int, sigma_y: float) -> torch.Tensor:
    y = operator.A(truth(n))
    return y + sigma_y * torch.randn(y.shape, generator=torch.Generator().manual_seed(2), dtype=y.dtype)


def standardised(operator, found, y, sigma_y: float) -> torch.Tensor:
    """Samples in singular directions, minus the exact posterior's mean and over its spread."""
    s = operator.singular_values(found)
    precision = 1 / SPREAD**2 + (s / sigma_y) ** 2
    prior = operator.to_spectrum(torch.full_like(found, MEAN))
    mean = (prior / SPREAD**2 + s * operator.measured_spectrum(y) / sigma_y**2) / precision
    return (operator.to_spectrum(found) - mean) * precision.sqrt()


def pigdm_spread(operator, sigma_y: float, steps: int) -> tuple[float, float]:
    """Mean and spread of standardised samples in the measured directions; 0 and 1 for the exact posterior."""
    y = noisy_measurements(operator, 64, sigma_y)
    found = sample(PiGDM(operator, y, sigma_y, spread=SPREAD), scheduler(steps), 64)
    z = standardised(operator, found, y, sigma_y)
    measured = (operator.singular_values(z) > 0).expand_as(z)
    return z[measured].mean().item(), z[measured].std().item()


@EVERY
def test_pigdm_draws_from_the_posterior(operator):
    """Where the prior is what PiGDM takes it for. At least 3072 coefficients: standard errors 0.018 and 1.3 %."""
    mean, spread = pigdm_spread(operator, 0.5, 400)
    assert abs(mean) < 0.09
    assert spread == pytest.approx(1, abs=0.08)


@pytest.mark.parametrize("name", ["inpainting", "sensing"])
def test_pigdms_bias_for_exact_measurements_falls_with_the_steps(name):
    """With little noise the posterior is much narrower than a step of the chain."""
    errors = [abs(pigdm_spread(OPERATORS[name], 0.05, steps)[1] - 1) for steps in (200, 800)]
    assert errors[1] < 0.12
    assert errors[1] < 0.6 * errors[0]


def replaced_parts(operator, y) -> dict:
    return {
        "DDNM": DDNM(operator, y, eta=0.0),
        "DDRM": DDRM(operator, y, eta=0.0),
        "ILVR": ILVR(operator, y),
        "MCG": MCG(operator, y, scale=3.2),
    }


@EVERY
@pytest.mark.parametrize("kind", ["DDNM", "DDRM", "ILVR", "MCG"])
def test_noiseless_measurements_are_kept_exactly(operator, kind):
    y = operator.A(truth(4))
    found = sample(replaced_parts(operator, y)[kind], scheduler(50), 4)
    torch.testing.assert_close(operator.A(found), y, rtol=1e-6, atol=1e-6)


@EVERY
@pytest.mark.parametrize("kind", ["DDNM", "DDRM", "ILVR"])
def test_what_is_not_measured_is_drawn_from_the_prior(operator, kind):
    """For independent coefficients the posterior of the null space is the prior."""
    y, process = operator.A(truth(64)), scheduler()
    guided = replaced_parts(operator, y)[kind]
    start = guided.start(process, truth(64), torch.Generator().manual_seed(5)) if kind == "DDRM" else None
    found = sample(guided, process, 64, start)
    z = (operator.to_spectrum(found) - operator.to_spectrum(torch.full_like(found, MEAN))) / SPREAD
    unmeasured = (operator.singular_values(z) == 0).expand_as(z)
    n = unmeasured.sum().item()
    assert abs(z[unmeasured].mean().item()) < 5 / n**0.5 + 0.02
    assert z[unmeasured].std().item() == pytest.approx(1, abs=0.05 + 3 / n**0.5)


def test_repaint_fills_from_the_prior_and_keeps_what_is_known():
    operator = OPERATORS["inpainting"]
    y = operator.A(truth(64))
    found = sample(RePaint(operator, y, resamplings=2), scheduler(500), 64)
    torch.testing.assert_close(found * MASK, y)
    filled = (found[..., MASK == 0] - MEAN) / SPREAD
    assert abs(filled.mean().item()) < 0.08
    assert filled.std().item() == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize("kind", [DDNM, DDRM])
@pytest.mark.parametrize("name", ["average", "inpainting", "blur"])
def test_noisy_measurements_are_smoothed(kind, name):
    """Nearer to the truth than the pseudo-inverse; neither is exact: the spread of the posterior is underestimated."""
    operator, sigma_y = OPERATORS[name], 0.15 if name == "average" else 0.3
    y, x = noisy_measurements(operator, 32, sigma_y), truth(32)
    found = sample(kind(operator, y, sigma_y), scheduler(200), 32)
    s = operator.singular_values(x).expand_as(x)
    measured = s > 0

    def error(guess):
        return operator.to_spectrum(guess - x)[measured].square().mean()

    assert error(found) < error(operator.A_pinv(y))
    if name != "blur":
        # A sample of the exact posterior is off by twice its variance, its mean by once.
        exact = (1 / (1 / SPREAD**2 + (s / sigma_y) ** 2))[measured].mean()
        assert 0.95 * exact < error(found) < 1.5 * exact


def test_dps_follows_a_function_that_is_not_linear():
    x = truth(8)
    forward = lambda picture: torch.tanh(2 * picture)  # noqa: E731 a degradation as users write one
    y = forward(x)
    free = sample(DPS(forward, y, scale=0.0), scheduler(200), 8)
    led = sample(DPS(forward, y, scale=16.0), scheduler(200), 8)
    misfit = [(y - forward(found)).square().mean().item() for found in (free, led)]
    assert misfit[1] < 0.1 * misfit[0]


@pytest.mark.parametrize("kind", [DPS, MCG])
def test_one_scale_serves_pictures_of_all_sizes(kind):
    """The step in every pixel is the same, of a misfit that is the same in every pixel, whatever the picture's side."""
    process, moved = scheduler(20), []
    for side in (8, 32):
        operator = Inpainting(torch.ones(side, side).double())
        y = torch.full((1, 3, side, side), 0.7, dtype=torch.float64)
        x = torch.zeros_like(y)

        def led(scale, operator=operator, y=y, x=x):
            guided = kind(operator, y, scale=scale)
            guided = guided if kind is DPS else guided.gradient
            generator = torch.Generator().manual_seed(0)
            return guided.advance(Run(denoiser(process), process, generator), x, 10, 9)

        moved.append((led(4.0) - led(0.0))[0, 0, 0, 0].item())
    assert moved[0] > 0
    assert moved[1] == pytest.approx(moved[0], rel=1e-9)
    # In units of the published side: the gradient of a norm over the 3 n^2 pixels is the slope over n sqrt(3) in each.
    slope = (kind(operator, y).y - 0).sign()[0, 0, 0, 0].item() / (32 * 3**0.5)
    a, sigma = (value.item() for value in process.marginal(10))
    x0_slope = (1 - sigma**2 / (a**2 * SPREAD**2 + sigma**2)) / a
    assert moved[1] == pytest.approx(4.0 * 32 / 256 * slope * x0_slope, rel=1e-6)


@pytest.mark.parametrize("make", [ILVR, MCG, lambda *args, clip: RePaint(*args, resamplings=2, clip=clip)])
def test_predictions_are_clipped(make):
    """A denoiser that predicts 3 everywhere draws what one that predicts the bound draws."""
    operator, process = Inpainting(MASK), scheduler(10)
    y = operator.A(truth(2))

    def drawn(value: float, clip):
        def eps(x, t):
            a, sigma = process.marginal(t[:1])
            return (x - a * value) / sigma

        generator = torch.Generator().manual_seed(0)
        start = torch.randn(2, 3, 8, 8, generator=generator, dtype=torch.float64)
        return make(operator, y, clip=clip).sample(eps, process, start, generator=generator).sample

    torch.testing.assert_close(drawn(3.0, (-1.0, 1.0)), drawn(1.0, None))
    assert not torch.allclose(drawn(3.0, None), drawn(1.0, None))


def test_repaint_jumps_as_published():
    """The order of states of the published schedule for 5 steps, parts of 2 steps, twice each."""
    operator = OPERATORS["inpainting"]
    guided = RePaint(operator, operator.A(truth(1)), resamplings=2, jump_length=2)
    assert guided.path([50, 40, 30, 20, 10]) == [50, 40, 30, 40, 50, 40, 30, 20, 10, 20, 30, 20, 10, 0]
    single = RePaint(operator, operator.A(truth(1)), resamplings=3)
    assert single.path([9, 5]) == [9, 5, 9, 5, 9, 5, 0]
    with pytest.raises(ConfigError, match="jump_length=0"):
        RePaint(operator, truth(1), jump_length=0)


def test_repaint_with_jumps_fills_from_the_prior_and_keeps_what_is_known():
    operator = OPERATORS["inpainting"]
    y = operator.A(truth(64))
    found = sample(RePaint(operator, y, resamplings=2, jump_length=10), scheduler(500), 64)
    torch.testing.assert_close(found * MASK, y)
    filled = (found[..., MASK == 0] - MEAN) / SPREAD
    assert abs(filled.mean().item()) < 0.08
    assert filled.std().item() == pytest.approx(1, abs=0.04)


def test_samples_do_not_see_each_other():
    operator, process = OPERATORS["average"], scheduler(20)
    y = operator.A(truth(3))
    start = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(4), dtype=torch.float64)

    def run(guided, x_start):
        # Without noise of its own, so that one and three pictures can be compared.
        return guided.sample(lambda x, t: denoiser(process)(x, t), process, x_start).sample

    for make in (lambda y: PiGDM(operator, y, 0.1, eta=0.0, spread=SPREAD), lambda y: DDNM(operator, y, eta=0.0)):
        together, alone = run(make(y), start), run(make(y[1:2]), start[1:2])
        torch.testing.assert_close(together[1:2], alone)


def test_wrong_use_is_named():
    operator = OPERATORS["average"]
    with pytest.raises(ConfigError, match="Inpainting, not AverageDownsampling"):
        RePaint(operator, torch.zeros(1))
    with pytest.raises(ConfigError, match="sigma_y=-1"):
        PiGDM(operator, torch.zeros(1), -1)
    assert {"DPS", "MCG", "DDRM", "DiffPIR", "REDDiff", "DAPS"} <= set(GUIDANCE.module_dict)
