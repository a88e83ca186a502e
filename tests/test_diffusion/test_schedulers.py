import numpy as np
import pytest
import torch

from dtir.core.errors import ConfigError
from dtir.diffusion import DDPMScheduler
from dtir.diffusion.schedulers import VESDE, VPSDE, trailing_steps
from dtir.registry import SCHEDULERS
from dtir.testing import check_scheduler

ALL = torch.arange(1, 51)


@pytest.mark.parametrize(
    "process",
    [DDPMScheduler(), DDPMScheduler(20, beta_schedule="cosine"), VPSDE(N=50), VESDE(N=50)],
    ids=lambda process: type(process).__name__,
)
def test_keeps_to_the_contract(process):
    check_scheduler(process)


@pytest.fixture
def scheduler() -> DDPMScheduler:
    return DDPMScheduler()


def test_spacing_and_betas_are_the_published_ones(scheduler):
    full = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    expected = np.concatenate([[1.0], full[19::20]])
    np.testing.assert_allclose(scheduler.alphas_cumprod.numpy(), expected, rtol=1e-6)
    assert scheduler.alphas_cumprod.shape == (51,)
    assert not scheduler.state_dict()


def test_noise_of_50_of_255_is_step_6(scheduler):
    assert scheduler.nearest_timestep(50 / 255) == 6
    assert scheduler.nearest_timestep(0.0) == 0
    assert scheduler.nearest_timestep(9.0) == 50
    assert [scheduler.nearest_timestep(s) for s in scheduler.noise_scale(torch.arange(51)).flatten().tolist()] == list(
        range(51)
    )


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "cosine"])
@pytest.mark.parametrize(("steps", "train"), [(50, 1000), (7, 1000), (1000, 1000), (1, 10)])
def test_schedule_preserves_variance_and_descends(schedule, steps, train):
    scheduler = DDPMScheduler(steps, train, beta_schedule=schedule)
    a, sigma = scheduler.marginal(torch.arange(steps + 1))
    torch.testing.assert_close(a**2 + sigma**2, torch.ones_like(a))
    assert (a.flatten().diff() < 0).all()
    assert (a[0], sigma[0]) == (1, 0)


def test_cosine_follows_nichol_and_dhariwal():
    scheduler = DDPMScheduler(4, 1000, beta_schedule="cosine")
    f = [np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2 for u in (0, 0.25, 0.5, 0.75)]
    np.testing.assert_allclose(scheduler.alphas_cumprod[:4].numpy(), np.array(f) / f[0], rtol=1e-6)


def test_add_noise_has_the_marginal_moments(scheduler):
    generator = torch.Generator().manual_seed(0)
    n, mean, std = 200_000, 0.3, 0.5
    x0 = mean + std * torch.randn(n, 1, 1, 1, generator=generator)
    for t in (1, 6, 25, 50):
        x_t = scheduler.add_noise(x0, torch.randn(x0.shape, generator=generator), t)
        abar = scheduler.alphas_cumprod[t].item()
        variance = abar * std**2 + 1 - abar
        assert abs(x_t.mean().item() - abar**0.5 * mean) < 5 * (variance / n) ** 0.5
        assert abs(x_t.var().item() - variance) < 5 * variance * (2 / n) ** 0.5


def test_conversions_round_trip_in_float64(scheduler):
    generator = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(50, 3, 2, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    scheduler = scheduler.double()
    x_t = scheduler.add_noise(x0, eps, ALL)
    close = dict(atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(scheduler.x0_from_eps(x_t, eps, ALL), x0, **close)
    torch.testing.assert_close(scheduler.eps_from_x0(x_t, x0, ALL), eps, **close)
    v = scheduler.v_from_eps(x_t, eps, ALL)
    a, sigma = scheduler.marginal(ALL)
    torch.testing.assert_close(v, a * eps - sigma * x0, **close)
    torch.testing.assert_close(scheduler.eps_from_v(x_t, v, ALL), eps, **close)
    torch.testing.assert_close(scheduler.x0_from_v(x_t, v, ALL), x0, **close)
    torch.testing.assert_close(scheduler.eps_from_score(scheduler.score_from_eps(eps, ALL), ALL), eps, **close)


def test_score_is_the_gradient_of_the_log_density(scheduler):
    x_t = torch.linspace(-2, 2, 50, dtype=torch.float64).view(50, 1, 1, 1).requires_grad_()
    x0 = torch.full_like(x_t, 0.7).detach()
    a, sigma = scheduler.double().marginal(ALL)
    log_density = torch.distributions.Normal(a * x0, sigma).log_prob(x_t).sum()
    (expected,) = torch.autograd.grad(log_density, x_t)
    score = scheduler.score_from_eps(scheduler.eps_from_x0(x_t, x0, ALL), ALL)
    torch.testing.assert_close(score, expected)


@pytest.mark.parametrize(("t", "t_prev"), [(2, 1), (6, 5), (30, 29), (50, 49), (40, 10)])
def test_posterior_equals_bayes_on_a_grid(scheduler, t, t_prev):
    """q(x_prev | x_t, x0) ~ q(x_t | x_prev) q(x_prev | x0), the first from the betas themselves."""
    betas = np.linspace(1e-4, 0.02, 1000)
    kept = np.prod(1 - betas[t_prev * 20 : t * 20])
    abar_prev = np.prod(1 - betas[: t_prev * 20])
    x_t, x0 = 0.4, -0.8
    grid = np.linspace(-6, 6, 400_001)
    log_p = -((x_t - kept**0.5 * grid) ** 2) / (2 * (1 - kept)) - (grid - abar_prev**0.5 * x0) ** 2 / (
        2 * (1 - abar_prev)
    )
    weights = np.exp(log_p - log_p.max())
    weights /= weights.sum()
    mean = (weights * grid).sum()
    variance = (weights * (grid - mean) ** 2).sum()
    got = scheduler.posterior(torch.full((1, 1, 1, 1), x_t), torch.full((1, 1, 1, 1), x0), t, t_prev)
    assert got[0].item() == pytest.approx(mean, rel=1e-4)
    assert got[1].item() == pytest.approx(variance, rel=1e-4)


def test_posterior_defaults_to_the_step_before_and_ends_at_x0(scheduler):
    x_t, x0 = torch.randn(50, 1, 2, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(50, 1, 2, 2) + 0.5
    mean, variance = scheduler.posterior(x_t, x0, ALL)
    explicit = scheduler.posterior(x_t, x0, ALL, ALL - 1)
    assert torch.equal(mean, explicit[0])
    assert torch.equal(variance, explicit[1])
    torch.testing.assert_close(mean[0], x0[0])
    assert variance[0] == 0
    assert (variance[1:] > 0).all()


@pytest.mark.parametrize("total", [1, 2, 50, 1000])
def test_steps_are_distinct_and_end_at_the_noisiest_for_any_number(total):
    scheduler = DDPMScheduler(total)
    for n in range(1, total + 1):
        steps = scheduler.sample_steps(n)
        gaps = -np.diff([*steps, 0])
        assert len(steps) == n
        assert steps[0] == total
        assert gaps.min() >= 1
        assert gaps.max() - gaps.min() <= 1
        assert max(abs(t - total * (n - i) / n) for i, t in enumerate(steps)) <= 0.5


@pytest.mark.parametrize("n", [0, -1, 51])
def test_impossible_numbers_of_steps_are_refused(scheduler, n):
    with pytest.raises(ConfigError, match=r"expected a number in 1\.\.50"):
        scheduler.sample_steps(n)


def test_trailing_steps_of_the_paper():
    assert trailing_steps(1000, 50) == list(range(20, 1001, 20))


def test_loss_weights(scheduler):
    t = torch.arange(51)
    assert torch.equal(scheduler.loss_weight(t), torch.ones(51))
    weight = scheduler.loss_weight(t, "min_snr")
    abar = scheduler.alphas_cumprod[1:].double()
    snr = abar / (1 - abar)
    torch.testing.assert_close(weight[1:].double(), snr.clamp(max=5) / snr, rtol=1e-4, atol=0)
    assert weight[0] == 0
    assert weight[-1] == 1
    assert scheduler.loss_weight(t, "min_snr", gamma=1.0)[6] < weight[6]
    with pytest.raises(ConfigError, match="min-snr"):
        scheduler.loss_weight(t, "min-snr")


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(beta_schedule="linaer"), "unknown beta_schedule 'linaer': expected one of linear"),
        (dict(beta_start=0.5, beta_end=0.1), "beta_start=0.5"),
        (dict(num_timesteps=2000), "2000 steps from a schedule of 1000"),
    ],
)
def test_bad_settings_name_the_value(kwargs, message):
    with pytest.raises(ConfigError, match=message):
        DDPMScheduler(**kwargs)


def test_steps_outside_the_schedule_are_errors_and_not_wrapped(scheduler):
    with pytest.raises(ValueError, match=r"t=51 is outside 0\.\.50"):
        scheduler.marginal(51)
    with pytest.raises(TypeError, match="integers"):
        scheduler.marginal(torch.tensor([0.5]))
    for bad in (-1, 51):
        with pytest.raises((IndexError, RuntimeError)):
            scheduler.marginal(torch.tensor([bad]))


def test_builds_from_a_config():
    assert SCHEDULERS.build(dict(type="DDPMScheduler", num_timesteps=10)).num_timesteps == 10
