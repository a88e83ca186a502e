"""What holds for every bridge, in closed form."""

import itertools
import math

import pytest
import torch

from dtir.core.errors import ConfigError
from dtir.diffusion.samplers import ColdSampler, FlowHeunSampler, PosteriorSampler, ReverseODESampler, ReverseSDESampler
from dtir.diffusion.schedulers import (
    DDBM,
    GOUB,
    I2SB,
    IRSDE,
    ColdDiffusion,
    DenoisingSDE,
    InDI,
    RectifiedFlow,
    ResidualDiffusion,
    ResShift,
    optimal_transport_pairs,
)
from dtir.registry import SCHEDULERS

CONTINUOUS = {
    "flow": lambda: RectifiedFlow(10, noise=0.3, continuous=True),
    "indi": lambda: InDI(10, noise=0.3, continuous=True),
}
BRIDGES = {
    "irsde": lambda: IRSDE(30, T=40, schedule="linear", eps=0.005),
    "irsde_cosine": lambda: IRSDE(0.3, T=100),
    "goub": lambda: GOUB(40, T=30, schedule="constant"),
    "i2sb": lambda: I2SB(interval=1000, beta_max=0.3, predicts="x0"),
    "resshift": lambda: ResShift(steps=10, min_noise_level=0.1),
    "ddbm_ve": lambda: DDBM("ve", num_timesteps=20, sigma_max=5.0),
    "ddbm_vp": lambda: DDBM("vp", num_timesteps=20),
    "ddbm_preconditioned": lambda: DDBM("vp", num_timesteps=20, predicts="preconditioned"),
    "diffuir": lambda: ResidualDiffusion(timesteps=200),
}
EVERY = pytest.mark.parametrize("bridge", [make().double() for make in BRIDGES.values()], ids=BRIDGES)


def numbers(value) -> list[float]:
    return [v.item() for v in value]


@EVERY
@pytest.mark.parametrize("gap", [1, 4])
def test_posterior_and_marginal_agree(bridge, gap):
    """Draws of x_t, then of x_t_prev given it, are distributed as x_t_prev: for mean and variance, exactly."""
    # I2SB's published arrays count the beta of step t on both sides of it.
    absolute = 2e-3 if isinstance(bridge, I2SB) else 1e-7
    one, zero = torch.ones(1, 1, 1, 1, dtype=torch.float64), torch.zeros(1, 1, 1, 1, dtype=torch.float64)
    for t in range(gap + 1, bridge.num_timesteps, bridge.num_timesteps // 10):
        (a, b, sigma), (a_prev, b_prev, sigma_prev) = bridge.marginal(t), bridge.marginal(t - gap)
        of_x, variance = bridge.posterior(one, zero, zero, t, t - gap)
        of_x0, of_mu = (bridge.posterior(zero, *unit, t, t - gap)[0] for unit in ((one, zero), (zero, one)))
        found = numbers([of_x * a + of_x0, of_x * b + of_mu, of_x**2 * sigma**2 + variance])
        assert found == pytest.approx(numbers([a_prev, b_prev, sigma_prev**2]), rel=2e-3, abs=absolute), t


TRAINED = {
    **BRIDGES,
    "i2sb_forward": lambda: I2SB(interval=200),
    "resshift_residual": lambda: ResShift(steps=10, min_noise_level=0.1, predict_type="residual"),
    "resshift_scaled": lambda: ResShift(steps=12, predict_type="epsilon_scale", timestep_respacing=5),
    "diffuir_two": lambda: ResidualDiffusion(timesteps=50, objective="pred_res_noise"),
    "diffuir_x0": lambda: ResidualDiffusion(timesteps=50, objective="pred_x0_noise"),
    "diffuir_noise": lambda: ResidualDiffusion(timesteps=50, objective="pred_noise"),
    "flow": lambda: RectifiedFlow(20, noise=0.2),
    "indi": lambda: InDI(20),
    "cold": lambda: ColdDiffusion(20),
}


@pytest.mark.parametrize("bridge", [make().double() for make in TRAINED.values()], ids=TRAINED)
def test_an_output_that_hits_its_target_gives_the_clean_picture(bridge):
    x0, mu, eps = torch.randn(3, 2, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for t in (1, bridge.last_trained // 2, bridge.last_trained):
        x_t = bridge.add_noise(x0, mu, eps, t)
        steps = torch.tensor([t, t])
        out = bridge.target(x_t, x0, mu, eps, steps)
        torch.testing.assert_close(bridge.target(x_t, x0, mu, eps, t), out)
        # A velocity points to the noisy end, so that it gives x_0 where its noise is that of the state.
        torch.testing.assert_close(bridge.x0_from_output(x_t, out, mu, t), x0, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("bridge", [make().double() for make in TRAINED.values()], ids=TRAINED)
def test_networks_are_told_the_same_of_one_step_and_of_a_batch(bridge):
    x = torch.randn(3, 1, 2, 2, dtype=torch.float64)
    steps = torch.tensor([1, bridge.num_timesteps // 2, bridge.num_timesteps])
    states, told = bridge.network_input(x, steps)
    for k, t in enumerate(steps.tolist()):
        state, number = bridge.network_input(x[k : k + 1], t)
        torch.testing.assert_close(states[k : k + 1], state)
        assert told[k].item() == pytest.approx(number, rel=1e-6)


def test_preconditioned_inputs_and_targets_have_unit_variance():
    """For pictures of the variance and covariance that the preconditioning assumes (DDBM, section 4)."""
    bridge = DDBM("vp", num_timesteps=8, predicts="preconditioned").double()
    generator = torch.Generator().manual_seed(0)
    shared, own, other, eps = torch.randn(4, 100_000, 1, 1, 1, generator=generator, dtype=torch.float64)
    x0, mu = ((shared + part) * 0.125**0.5 for part in (own, other))
    for t in (2, 5, 8):
        x_t = bridge.add_noise(x0, mu, eps, t)
        state, _ = bridge.network_input(x_t, t)
        assert state.var().item() == pytest.approx(1, rel=0.02)
        assert bridge.target(x_t, x0, mu, eps, t).var().item() == pytest.approx(1, rel=0.02)


def test_heun_is_of_second_order_on_a_curved_flow():
    """dx/ds = x, from s = 1 to 0: exp(-1) of the start."""
    flow, start = RectifiedFlow(64).double(), torch.ones(1, 1, 1, 1, dtype=torch.float64)

    def error(sampler, n):
        result = sampler.sample(lambda x, t: x, flow, start, num_steps=n)
        return abs(result.sample.item() - math.exp(-1)), result.num_evals

    # The last step is Euler's, of a local error that falls with the square.
    heun = [error(FlowHeunSampler(), n) for n in (8, 16, 32)]
    euler = [error(PosteriorSampler(), n) for n in (8, 16, 32)]
    assert [evals for _, evals in heun] == [15, 31, 63]
    assert all(a[0] / b[0] > 3.5 for a, b in itertools.pairwise(heun))
    assert all(1.8 < a[0] / b[0] < 2.2 for a, b in itertools.pairwise(euler))
    with pytest.raises(ConfigError, match="predicts a velocity"):
        FlowHeunSampler().sample(lambda x, t: x, InDI(), start)


@EVERY
def test_ends_are_the_two_pictures(bridge):
    a, b, sigma = numbers(bridge.marginal(0))
    assert (a, b) == pytest.approx((1, 0), abs=5e-3)
    assert sigma < 0.02
    a, b, _ = numbers(bridge.marginal(bridge.num_timesteps))
    lost = bridge.delta_cumsum[-1].item() if isinstance(bridge, ResidualDiffusion) else 0
    assert a + b == pytest.approx(1 - lost, abs=1e-5)


@EVERY
def test_conversions_are_inverse_and_steps_may_differ_within_a_batch(bridge):
    generator = torch.Generator().manual_seed(0)
    x0, mu, eps = torch.randn(3, 2, 1, 4, 4, generator=generator, dtype=torch.float64)
    t = torch.tensor([1, bridge.num_timesteps // 2])
    x_t = bridge.add_noise(x0, mu, eps, t)
    torch.testing.assert_close(bridge.x0_from_eps(x_t, eps, mu, t), x0)
    torch.testing.assert_close(bridge.eps_from_x0(x_t, x0, mu, t), eps)
    torch.testing.assert_close(bridge.add_noise(x0[1:], mu[1:], eps[1:], int(t[1])), x_t[1:])


@pytest.mark.parametrize("predicts", ["eps", "x0", "residual", "forward"])
def test_every_parametrisation_leads_to_the_same_picture(predicts):
    bridge = I2SB(interval=20, predicts=predicts)
    x0, mu, eps = torch.randn(3, 1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    x_t = bridge.add_noise(x0, mu, eps, 7)
    outputs = {"eps": eps, "x0": x0, "residual": mu - x0, "forward": (x_t - x0) / bridge.std_fwd[7]}
    torch.testing.assert_close(bridge.x0_from_output(x_t, outputs[predicts], mu, 7), x0, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(bridge.eps_from_output(x_t, outputs[predicts], mu, 7), eps, rtol=1e-3, atol=1e-3)


MEAN, SPREAD, DEGRADED = 0.6, 0.08, 0.2


def gaussian_posterior_mean(bridge, x_t, mu, t):
    """E[x_0 | x_t] where x_0 is N(MEAN, SPREAD^2) in every pixel, whatever mu is."""
    a, b, sigma = bridge.marginal(t)
    # At the end of GOUB, where the state is mu, both are 0 and the prior's mean is all there is.
    gain = a * SPREAD**2 / (a**2 * SPREAD**2 + sigma**2).clamp(min=1e-12)
    return MEAN + gain * (x_t - a * MEAN - b * mu)


SAMPLERS = {
    "irsde_posterior": (lambda n: IRSDE(50, T=n, eps=0.005), PosteriorSampler()),
    "irsde_sde": (lambda n: IRSDE(50, T=n, eps=0.005), ReverseSDESampler()),
    "irsde_ode": (lambda n: IRSDE(50, T=n, eps=0.005), ReverseODESampler()),
    "goub_posterior": (lambda n: GOUB(50, T=n, eps=0.005), PosteriorSampler()),
    "i2sb": (lambda n: I2SB(interval=2 * (n // 2), beta_max=1.0), PosteriorSampler()),
    "resshift": (lambda n: ResShift(steps=n, min_noise_level=0.01, kappa=0.5), PosteriorSampler()),
    "ddbm_ve": (lambda n: DDBM("ve", num_timesteps=n, sigma_max=1.0), PosteriorSampler()),
    "ddbm_vp": (lambda n: DDBM("vp", num_timesteps=n), PosteriorSampler()),
}


def sampled_moments(name: str, steps: int) -> tuple[float, float]:
    make, sampler = SAMPLERS[name]
    bridge = make(steps)
    mu = torch.full((1, 1, 128, 128), DEGRADED)
    # The network is exact: it answers in the bridge's own terms.
    bridge.predicts, bridge.normalize_input = "x0", False

    told = {bridge.network_input(mu, t)[1]: t for t in range(1, bridge.num_timesteps + 1)}

    def network(x, time):
        t = min(told, key=lambda value: abs(value - time[0].item()))
        return gaussian_posterior_mean(bridge, x, mu, told[t])

    generator = torch.Generator().manual_seed(1)
    result = sampler.sample(network, bridge, mu, generator=generator).sample
    return result.mean().item(), result.std().item()


@pytest.mark.parametrize("name", SAMPLERS)
def test_samples_of_a_gaussian_have_its_mean_and_spread(name):
    """128 x 128 independent pixels: the Monte-Carlo error of the mean is SPREAD / 128, that of the spread 0.6 %."""
    coarse, fine = (sampled_moments(name, steps) for steps in (20, 400))
    assert fine[0] == pytest.approx(MEAN, abs=4 * SPREAD / 128 + 2e-3)
    assert fine[1] == pytest.approx(SPREAD, rel=0.05)
    assert abs(fine[1] - SPREAD) <= abs(coarse[1] - SPREAD) + 0.02 * SPREAD


@pytest.mark.parametrize("sampler", [PosteriorSampler(), ColdSampler()])
@pytest.mark.parametrize("make", [ColdDiffusion, InDI, RectifiedFlow])
def test_straight_paths_are_walked_back_exactly_by_a_perfect_network(make, sampler):
    bridge = make(num_timesteps=7)
    x0, mu, eps = torch.randn(3, 1, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    start = bridge.start(mu, eps)
    outputs = {"x0": x0, "velocity": mu + bridge.noise * eps - x0}
    result = sampler.sample(
        lambda x, t: outputs[bridge.predicts], bridge, mu, x_start=start, num_steps=3, return_trajectory=True
    )
    noise_left = 0 if isinstance(sampler, PosteriorSampler) else bridge.noise
    torch.testing.assert_close(result.sample, x0 + noise_left * eps)
    steps = [7, *bridge.sample_steps(3)[1:], 0]
    if isinstance(sampler, PosteriorSampler):
        expected = [bridge.add_noise(x0, mu, eps, t) for t in steps]
        torch.testing.assert_close(torch.stack(result.trajectory), torch.stack(expected))


def test_velocity_of_a_flow_is_the_derivative_of_its_path():
    flow = RectifiedFlow(num_timesteps=10, noise=0.3)
    x0, mu, eps = torch.randn(3, 1, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    slope = (flow.add_noise(x0, mu, eps, 8) - flow.add_noise(x0, mu, eps, 3)) / 0.5
    torch.testing.assert_close(flow.target(flow.add_noise(x0, mu, eps, 5), x0, mu, eps, 5), slope)


def test_optimal_transport_pairs_are_the_best_of_all():
    x0, x1 = torch.randn(2, 5, 3, generator=torch.Generator().manual_seed(0))

    def cost(order):
        return (x0 - x1[list(order)]).square().sum().item()

    best = min(itertools.permutations(range(5)), key=cost)
    assert optimal_transport_pairs(x0, x1).tolist() == list(best)


def test_goub_from_the_end_draws_the_marginal():
    bridge = GOUB(30, T=10)
    x0, mu = torch.full((1, 1, 2, 2), 0.2), torch.full((1, 1, 2, 2), 0.7)
    mean, variance = bridge.posterior(mu, x0, mu, 10, 6)
    a, b, sigma = bridge.marginal(6)
    torch.testing.assert_close(mean, a * x0 + b * mu)
    torch.testing.assert_close(variance, sigma**2)


def test_noise_beyond_the_denoising_process_is_named():
    assert DenoisingSDE(75).optimal_timestep(0.1) == DenoisingSDE(75).optimal_timestep(25.5)
    with pytest.raises(ValueError, match="sigma=80"):
        DenoisingSDE(75).optimal_timestep(80)


def test_a_bridge_without_equation_needs_the_posterior_sampler():
    with pytest.raises(ConfigError, match="ResShift is none"):
        ReverseSDESampler().sample(lambda x, t: x, ResShift(), torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"type": "IRSDE", "max_sigma": 10, "schedule": "sigmoid"}, "sigmoid"),
        ({"type": "GOUB", "lambda_square": 10, "eps": 0}, "eps=0"),
        ({"type": "I2SB", "interval": 7}, "interval=7"),
        ({"type": "ResShift", "steps": 1}, "steps=1"),
        ({"type": "ResShift", "predict_type": "x0"}, "predict_type='x0'"),
        ({"type": "DDBM", "kind": "vs"}, "kind='vs'"),
        ({"type": "DiffUIR", "objective": "x0"}, "objective='x0'"),
        ({"type": "InDI", "noise": -1}, "noise=-1"),
    ],
)
def test_wrong_settings_are_named(config, message):
    with pytest.raises(ConfigError, match=message):
        SCHEDULERS.build(config)


def test_trajectory_callback_and_count():
    seen = []
    result = PosteriorSampler().sample(
        lambda x, t: 0.5 * x,
        ResShift(steps=4),
        torch.zeros(1, 3, 4, 4),
        num_steps=2,
        callback=lambda done, t, x: seen.append((done, t)),
        return_trajectory=True,
    )
    assert seen == [(1, 2), (2, 0)]
    assert result.num_evals == 2
    assert len(result.trajectory) == 3


@pytest.mark.parametrize("name", CONTINUOUS)
def test_straight_paths_have_all_times(name):
    """A time that is a step has the step's values; another one lies between, on the line of any other two."""
    bridge = CONTINUOUS[name]().double()
    x0, mu, eps = torch.randn(3, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    steps, times = torch.tensor([3, 10]), torch.tensor([3.0, 10.0], dtype=torch.float64)
    torch.testing.assert_close(bridge.add_noise(x0, mu, eps, times), bridge.add_noise(x0, mu, eps, steps))
    between = torch.full((2,), 3.25, dtype=torch.float64)
    x_t = bridge.add_noise(x0, mu, eps, between)
    torch.testing.assert_close(x_t, 0.75 * bridge.add_noise(x0, mu, eps, 3) + 0.25 * bridge.add_noise(x0, mu, eps, 4))
    out = bridge.target(x_t, x0, mu, eps, between)
    torch.testing.assert_close(bridge.x0_from_output(x_t, out, mu, between), x0)
    assert bridge.network_input(x_t, between)[1].tolist() == [0.325, 0.325]
    found = bridge.time_at(torch.tensor([0.0, 0.5, 0.999]))
    assert found.tolist() == pytest.approx([10.0, 5.0, 0.01], rel=1e-4)
    assert bridge.continuous
    assert not type(bridge)(10).continuous


def test_implicit_steps_keep_the_noise_of_a_state():
    bridge = ResShift(10, 0.1).double()
    x0, mu, eps, fresh = torch.randn(4, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    t, before = torch.tensor([7, 3]), torch.tensor([5, 0])
    state = bridge.implicit_step(bridge.add_noise(x0, mu, eps, t), x0, mu, t, before, fresh)
    torch.testing.assert_close(state, bridge.add_noise(x0, mu, eps, before))
    # Where there is none, another is taken.
    bridge = DDBM("vp", num_timesteps=6).double()
    torch.testing.assert_close(bridge.implicit_step(mu, x0, mu, 6, 4, fresh), bridge.add_noise(x0, mu, fresh, 4))
