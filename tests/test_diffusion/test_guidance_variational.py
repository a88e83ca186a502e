"""DiffPIR, DAPS and RED-diff: single steps in closed form, non-linear operators, and what RED-diff converges to."""

import pytest
import torch
from test_guidance import MASK, MEAN, OPERATORS, SPREAD, denoiser, noisy_measurements, scheduler, truth

from dtir.core.errors import ConfigError
from dtir.diffusion.guidance import DAPS, DiffPIR, REDDiff
from dtir.diffusion.operators import HDR, Inpainting, Operator
from dtir.testing.gaussian_law import operator_matrix

EVERY = pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
RHO = torch.tensor(0.3, dtype=torch.float64).view(1, 1, 1, 1)


class Opaque(Operator):
    """An operator that hides its decomposition."""

    def __init__(self, operator):
        super().__init__()
        self.operator = operator

    def A(self, x):  # noqa: N802 as in the field
        return self.operator.A(x)


@EVERY
def test_the_proximal_step_solves_its_equations(operator):
    """`(A^T A + rho) x = A^T y + rho x_0`, with the matrix of A."""
    matrix = operator_matrix(operator, (3, 8, 8))
    x0, y = truth(2).flip(0), noisy_measurements(operator, 2, 0.2)
    found = DiffPIR(operator, y, 0.2).proximal(x0, RHO).flatten(1)
    left = matrix.T @ matrix + 0.3 * torch.eye(192, dtype=torch.float64)
    exact = torch.linalg.solve(left, (y.flatten(1) @ matrix + 0.3 * x0.flatten(1)).T).T
    torch.testing.assert_close(found, exact)
    near = DiffPIR(Opaque(operator), y, 0.2, gradient_steps=60).proximal(x0, RHO).flatten(1)
    torch.testing.assert_close(near, exact, rtol=1e-6, atol=1e-6)


def test_the_published_first_order_step_is_one_of_the_gradient_steps():
    operator = OPERATORS["average"]
    x0, y = truth(2).flip(0), operator.A(truth(2))
    found = DiffPIR(Opaque(operator), y, 0.2, gradient_steps=1, curvature=0.0).proximal(x0, RHO)
    torch.testing.assert_close(found, x0 - operator.At(operator.A(x0) - y) / RHO)


def run(guided, process, n: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    start = guided.start(process, truth(n), generator)
    return guided.sample(denoiser(process), process, start, generator=generator).sample


@pytest.mark.parametrize(
    "make",
    [
        lambda operator, y: DiffPIR(operator, y, 0.02, curvature=4.0),
        lambda operator, y: DAPS(operator, y, 0.02, ode_steps=2, langevin_steps=30, lr=1e-4, lr_min_ratio=0.1),
        lambda operator, y: REDDiff(operator, y, lr=0.05),
    ],
    ids=["DiffPIR", "DAPS", "REDDiff"],
)
def test_measurements_that_are_not_linear_are_followed(make):
    """Overexposed pictures: what is not clipped is found to about the noise, or the step."""
    operator, process = HDR(2.0), scheduler(60)
    x = truth(8)
    y = operator.A(x)
    found = run(make(operator, y), process, 8)
    assert (operator.A(found) - y).square().mean().sqrt() < 0.08
    assert (found - x)[y.abs() < 1].square().mean().sqrt() < 0.05


@pytest.mark.parametrize("name", ["average", "inpainting", "sensing"])
def test_reddiff_leads_to_the_posterior_mean(name):
    """Without noise in y: measured directions are those of y, the others come to the prior's mean, with a jitter."""
    operator, process = OPERATORS[name], scheduler(300)
    y = operator.A(truth(16))
    found = run(REDDiff(operator, y, lr=0.02), process, 16)
    # From a pseudo-inverse, which is 0 there, to the mean.
    z = operator.to_spectrum(found) - operator.to_spectrum(torch.full_like(found, MEAN))
    unmeasured = (operator.singular_values(z) == 0).expand_as(z)
    assert (operator.A(found) - y).square().mean().sqrt() < 0.02
    assert z[unmeasured].mean().abs() < 0.02
    assert z[unmeasured].std() < 0.4 * SPREAD


def test_reddiff_starts_at_what_the_measurements_show():
    linear, process, like = OPERATORS["average"], scheduler(10), truth(2)
    y = linear.A(like)
    torch.testing.assert_close(REDDiff(linear, y).start(process, like), linear.A_pinv(y))
    assert torch.equal(REDDiff(torch.tanh, like).start(process, like), like)
    assert torch.equal(REDDiff(lambda x: x[..., ::2], like[..., ::2]).start(process, like), torch.zeros_like(like))


def test_reddiffs_first_step_is_adams():
    """Of a length of lr along the sign of both terms' slope, with the noise of the generator."""
    operator, process = Inpainting(MASK), scheduler(10)
    y, mu = operator.A(truth(1)), truth(1).flip(3)
    a, sigma = process.marginal(10)
    eps = torch.randn(mu.shape, generator=torch.Generator().manual_seed(3), dtype=mu.dtype)
    off = denoiser(process)(a * mu + sigma * eps, torch.tensor([10])) - eps
    slope = 0.25 * sigma / a * off + operator.At(operator.A(mu) - y)
    found = REDDiff(operator, y).sample(
        denoiser(process), process, mu, timesteps=[10], generator=torch.Generator().manual_seed(3)
    )
    torch.testing.assert_close(found.sample, mu - 0.1 * slope.sign(), atol=1e-6, rtol=0)


def test_daps_asks_the_denoiser_once_for_every_step_of_its_ode():
    operator, process = OPERATORS["average"], scheduler(8)
    guided = DAPS(operator, operator.A(truth(1)), 0.1, ode_steps=3, langevin_steps=None)
    result = guided.sample(denoiser(process), process, truth(1), num_steps=4)
    # From step 2 there are two steps to 0.
    assert result.num_evals == 3 + 3 + 3 + 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o, y: DiffPIR(o, y, lambda_=0.0), "lambda_=0.0"),
        (lambda o, y: DiffPIR(o, y, zeta=1.5), "zeta=1.5"),
        (lambda o, y: DiffPIR(o, y, curvature=0.0), "curvature=0.0"),
        (lambda o, y: DAPS(o, y), "tau=0.0"),
        (lambda o, y: DAPS(Opaque(o), y, 0.1, langevin_steps=None), "SpectralOperator, not Opaque"),
        (lambda o, y: DAPS(o, y, 0.1, ode_steps=0), "ode_steps=0"),
        (lambda o, y: DAPS(o, y, 0.1, lr_min_ratio=2.0), "lr_min_ratio=2.0"),
        (lambda o, y: REDDiff(o, y, lr=0.0), "lr=0.0"),
    ],
)
def test_wrong_values_are_named(make, message):
    operator = OPERATORS["average"]
    with pytest.raises(ConfigError, match=message):
        make(operator, operator.A(truth(1)))
