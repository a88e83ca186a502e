"""The exact law of guided samples against the exact posterior of a Gaussian prior; see `dtir.testing.gaussian_law`."""

import pytest
import torch

from dtir.diffusion.guidance import DAPS, DDNM, DDRM, ILVR, DiffPIR, PiGDM, RePaint
from dtir.diffusion.operators import (
    AverageDownsampling,
    CircularBlur,
    Colorization,
    Inpainting,
    WalshHadamard,
    gaussian_kernel,
)
from dtir.diffusion.schedulers import VPSDE
from dtir.testing.gaussian_law import GaussianPrior, law_errors, noise_law, operator_matrix

SCHEDULER = VPSDE(N=4000).double()
MASK = torch.tensor([[1, 0, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0], [1, 0, 1, 1]], dtype=torch.float64)
OPERATORS = {
    "inpainting": (Inpainting(MASK), (1, 4, 4)),
    "average": (AverageDownsampling(2), (1, 4, 4)),
    "sensing": (WalshHadamard(4, 4, 0.5), (1, 4, 4)),
    "colorization": (Colorization(), (3, 2, 2)),
    "blur": (CircularBlur(gaussian_kernel(0.8, 3)), (1, 4, 4)),
}
EVERY = pytest.mark.parametrize("name", OPERATORS)
SPREAD = 0.32**0.5
# What is made of the operator and noiseless measurements, and the most noise that a step draws.
KINDS = {
    "DDNM": (lambda operator, y: DDNM(operator, y), 1),
    "DDNM, eta 0": (lambda operator, y: DDNM(operator, y, eta=0.0), 1),
    "DDRM, eta 0": (lambda operator, y: DDRM(operator, y, eta=0.0), 1),
    "ILVR": (ILVR, 2),
    "RePaint": (lambda operator, y: RePaint(operator, y, 1), 2),
    "DiffPIR, zeta 0": (lambda operator, y: DiffPIR(operator, y, zeta=0.0), 1),
}


def compare(name, make, draws: int, correlation: float, steps: int, sigma_y: float = 0.0):
    """Errors of mean and covariance over the prior's spread, and the largest misfit of noiseless measurements."""
    operator, shape = OPERATORS[name]
    prior, matrix = GaussianPrior(shape, correlation), operator_matrix(operator, shape)
    noise = torch.randn(len(prior.mean), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    y = operator.A(prior.picture(prior.mean + torch.linalg.cholesky(prior.cov) @ noise))
    mean, cov = noise_law(make(operator, y), SCHEDULER, SCHEDULER.sample_steps(steps), prior, draws)
    misfit = max((matrix @ mean - y.flatten()).abs().max().item(), (matrix @ cov).abs().max().item())
    true = prior.posterior(matrix, y.flatten(), sigma_y)
    return *law_errors((mean, cov), true, prior.cov.diagonal().sqrt()), misfit


def test_the_exact_posterior_is_that_of_gaussian_conditioning():
    prior = GaussianPrior((1, 4, 4))
    matrix = operator_matrix(*OPERATORS["average"])
    mean, cov = prior.posterior(matrix, torch.ones(4, dtype=torch.float64), 0.2)
    precision = torch.linalg.inv(prior.cov) + matrix.T @ matrix / 0.04
    torch.testing.assert_close(cov, torch.linalg.inv(precision))
    information = torch.linalg.solve(prior.cov, prior.mean) + matrix.T @ torch.ones(4, dtype=torch.float64) / 0.04
    torch.testing.assert_close(mean, torch.linalg.solve(precision, information))


@EVERY
@pytest.mark.parametrize("kind", KINDS)
def test_exact_for_independent_pixels(name, kind):
    """Range space exactly, null space from the prior: the covariance has the solver's error only, of first order."""
    if kind == "RePaint" and name != "inpainting":
        pytest.skip("RePaint is for inpainting")
    coarse, fine = (compare(name, *KINDS[kind], 0.0, steps) for steps in (30, 60))
    assert fine[0] < 1e-9
    assert fine[2] < 1e-9
    assert fine[1] < 0.18
    assert fine[1] < 0.65 * coarse[1] or fine[1] < 0.01


@EVERY
@pytest.mark.parametrize("sigma_y", [0.3, 1.0])
def test_pigdm_is_exact_for_independent_pixels(name, sigma_y):
    def make(operator, y):
        return PiGDM(operator, y, sigma_y, spread=SPREAD)

    coarse, fine = (compare(name, make, 1, 0.0, steps, sigma_y) for steps in (30, 60))
    # The state at T, of which x_0 is a share of 0.007, is drawn without regard to y.
    assert fine[0] < 1e-5
    assert fine[1] < 0.7 * coarse[1]


@EVERY
@pytest.mark.parametrize("sigma_y", [0.0, 0.3, 1.0])
def test_daps_is_exact_for_independent_pixels_in_any_number_of_steps(name, sigma_y):
    """With the mean of x_0 in one step of the ODE, the spread of the data, and draws in closed form."""

    def make(operator, y):
        return DAPS(operator, y, sigma_y, ode_steps=1, langevin_steps=None, spread=SPREAD)

    # What the state at T, drawn without regard to y, leaves of itself, falls with every step.
    errors = compare(name, make, 2, 0.0, 8, sigma_y)
    assert errors[0] < 1e-9
    assert errors[1] < 1e-9


def test_langevin_dynamics_come_near_to_the_draws_of_daps():
    def error(steps: int) -> float:
        def make(operator, y):
            return DAPS(operator, y, 0.3, 1, steps, lr=0.02, lr_min_ratio=1.0, spread=SPREAD)

        return compare("average", make, steps + 1, 0.0, 4, 0.3)[1]

    short, long = error(4), error(16)
    assert long < 0.06
    assert long < 0.5 * short


def test_diffpirs_bias_falls_with_the_noise_over_the_spread_of_the_data():
    """Its weight of the denoiser takes the data to be without bound."""

    def mean_error(sigma_y: float) -> float:
        return compare("average", lambda operator, y: DiffPIR(operator, y, sigma_y, zeta=0.0), 1, 0.0, 60, sigma_y)[0]

    small, large = mean_error(0.05), mean_error(0.1)
    assert large < 0.03
    assert small < large / 3


@EVERY
def test_range_space_is_exact_for_correlated_pixels_too(name):
    for kind, (make, draws) in KINDS.items():
        if kind != "RePaint" or name == "inpainting":
            assert compare(name, make, draws, 1.0, 20)[2] < 1e-9, kind


def test_biases_for_correlated_pixels():
    """None of them claims to be exact here; `benchmarks/guidance_bias.py` has the numbers."""
    errors = {kind: compare("average", *KINDS[kind], 1.0, 50)[0] for kind in KINDS if kind != "RePaint"}
    assert errors["DDNM"] < errors["ILVR"]
    assert errors["DDNM, eta 0"] < errors["ILVR"]
    # More than the solver's error: it stays with more steps.
    assert compare("average", *KINDS["ILVR"], 1.0, 100)[0] > 0.9 * errors["ILVR"]


def test_resampling_brings_repaint_nearer_to_the_posterior():
    def mean_error(resamplings: int) -> float:
        return compare(
            "inpainting", lambda operator, y: RePaint(operator, y, resamplings), 3 * resamplings - 1, 1.0, 20
        )[0]

    once, thrice = mean_error(1), mean_error(3)
    assert thrice < 0.8 * once
