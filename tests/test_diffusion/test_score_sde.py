"""Equations and solvers against the exact solution for a correlated Gaussian."""

import numpy as np
import pytest
import torch
from test_diffusion_samplers import DIM, GaussianPrior, moments

from dtir.core.errors import ConfigError
from dtir.diffusion import DDIMSampler, DDPMScheduler
from dtir.diffusion.samplers import (
    DPMSolverPP2M,
    EulerMaruyamaSampler,
    HeunSampler,
    PredictorCorrectorSampler,
    ProbabilityFlowSampler,
)
from dtir.diffusion.schedulers import VESDE, VPSDE
from dtir.registry import SCHEDULERS


def ve(n: int) -> VESDE:
    return VESDE(sigma_min=0.01, sigma_max=5.0, N=n).double()


def vp(n: int) -> VPSDE:
    return VPSDE(N=n).double()


PROCESSES = {"vp": vp, "ve": ve}


def flow_solution(prior: GaussianPrior, scheduler, x: torch.Tensor) -> torch.Tensor:
    """Where the probability flow takes states at T: each principal component keeps its place in the distribution."""
    (a, sigma), (a_0, sigma_0) = ([v.item() for v in scheduler.marginal(t)] for t in (scheduler.num_timesteps, 0))
    variances, axes = torch.linalg.eigh(prior.cov)
    components = (x.flatten(1) - a * prior.mean) @ axes
    scale = ((a_0**2 * variances + sigma_0**2) / (a**2 * variances + sigma**2)).sqrt()
    return a_0 * prior.mean + (components * scale) @ axes.T


def flow_error(sampler, scheduler, num_steps: int) -> float:
    prior = GaussianPrior()
    start = prior.start(scheduler, 64, scheduler.num_timesteps)
    found = sampler.sample(prior.denoiser(scheduler), scheduler, start, num_steps=num_steps).sample
    return (found.flatten(1) - flow_solution(prior, scheduler, start)).abs().max().item()


@pytest.mark.parametrize(
    ("sampler", "process", "order"),
    [
        (ProbabilityFlowSampler(), "vp", 1),
        (ProbabilityFlowSampler(), "ve", 1),
        (DDIMSampler(), "vp", 1),
        (DDIMSampler(), "ve", 1),
        (HeunSampler(), "ve", 2),
        (DPMSolverPP2M(), "ve", 2),
    ],
)
def test_solvers_converge_at_their_order(sampler, process, order):
    scheduler = PROCESSES[process](8000)
    coarse, fine = (flow_error(sampler, scheduler, n) for n in (200, 400))
    assert fine < 0.05
    assert np.log2(coarse / fine) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("sampler", [HeunSampler(), DPMSolverPP2M()])
def test_second_order_pays_where_sigma_grows_like_a_root(sampler):
    """With steps even in time the last one of VP, where sigma ~ sqrt(t), keeps the error from falling at order 2."""
    scheduler = vp(8000)
    assert flow_error(sampler, scheduler, 100) < flow_error(DDIMSampler(), scheduler, 100) / 4


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("sampler", [EulerMaruyamaSampler(), PredictorCorrectorSampler(snr=0.1)])
def test_stochastic_samplers_reproduce_a_correlated_gaussian(process, sampler):
    """4000 samples: the standard error of a mean is 0.016 of a spread, that of a variance 2 %."""
    scheduler, prior = PROCESSES[process](1000), GaussianPrior()
    start = prior.start(scheduler, 4000, 1000)
    result = sampler.sample(prior.denoiser(scheduler), scheduler, start, generator=torch.Generator().manual_seed(3))
    mean, cov = moments(result.sample)
    spread = prior.cov.diagonal().sqrt()
    assert ((mean - prior.mean).abs() / spread).max() < 0.08
    assert ((cov - prior.cov).abs() / torch.outer(spread, spread)).max() < 0.12


@pytest.mark.parametrize("process", PROCESSES)
def test_moments_solve_the_equation(process):
    scheduler = PROCESSES[process](2000)
    t = 1200
    f, squared, dt = scheduler.equation(t, t - 1)
    (a, sigma), (a_prev, sigma_prev) = scheduler.marginal(t), scheduler.marginal(t - 1)
    assert ((a - a_prev) / dt).item() == pytest.approx((f * a).item(), rel=1e-2, abs=1e-6)
    growth = ((sigma**2 - sigma_prev**2) / dt).item()
    assert growth == pytest.approx((2 * f * sigma**2 + squared).item(), rel=1e-2)


def test_vp_is_the_limit_of_ddpm():
    """With betas scaled by the number of steps, as the review has it."""
    for n, bound in ((1000, 6e-3), (10_000, 6e-4)):
        ddpm = DDPMScheduler(n, train_timesteps=n, beta_start=0.1 / n, beta_end=20 / n).double()
        sde = VPSDE(N=n).double()
        steps = torch.arange(n + 1)
        difference = (ddpm.marginal(steps)[0] - sde.marginal(steps)[0]).abs().max()
        assert difference < bound


def test_ddim_is_the_euler_step_of_the_flow():
    scheduler = vp(1000)
    x, eps = torch.randn(2, 1, DIM, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (a, sigma), (a_prev, sigma_prev) = scheduler.marginal(700), scheduler.marginal(500)
    euler = a_prev * (x / a + (sigma_prev / a_prev - sigma / a) * eps)
    torch.testing.assert_close(DDIMSampler().step(scheduler, x, eps, 700, 500), euler)


def test_evaluations_are_counted():
    prior, scheduler = GaussianPrior(), vp(100)
    start = prior.start(scheduler, 20, 100)
    counts = {
        type(s).__name__: s.sample(prior.denoiser(scheduler), scheduler, start, num_steps=10).num_evals
        for s in (HeunSampler(), DPMSolverPP2M(), PredictorCorrectorSampler(corrections=2))
    }
    assert counts == {"HeunSampler": 19, "DPMSolverPP2M": 10, "PredictorCorrectorSampler": 28}


def test_one_object_serves_runs_one_after_the_other():
    prior, scheduler, sampler = GaussianPrior(), vp(100), DPMSolverPP2M()
    start = prior.start(scheduler, 20, 100)
    first, second = (sampler.sample(prior.denoiser(scheduler), scheduler, start, num_steps=8).sample for _ in range(2))
    assert torch.equal(first, second)


def test_samplers_of_equations_need_one():
    scheduler = DDPMScheduler(10)
    with pytest.raises(ConfigError, match="DDPMScheduler is none"):
        EulerMaruyamaSampler().sample(lambda x, t: x, scheduler, torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize(
    ("config", "message"),
    [({"type": "VESDE", "sigma_min": 60}, "sigma_min=60"), ({"type": "VPSDE", "N": 0}, "N=0")],
)
def test_wrong_settings_are_named(config, message):
    with pytest.raises(ConfigError, match=message):
        SCHEDULERS.build(config)
