"""Published options beyond those of the fixtures, against the published formulas in float64."""

import numpy as np
import pytest
import torch

from dtir.core.errors import ConfigError
from dtir.diffusion.samplers import PosteriorSampler, ResidualSampler
from dtir.diffusion.schedulers import GOUB, I2SB, IRSDE, DenoisingSDE, ResidualDiffusion, ResShift
from dtir.registry import SCHEDULERS

X, MU, Z = torch.randn(3, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def thetas(schedule: str, T: int) -> np.ndarray:
    if schedule == "constant":
        return np.ones(T + 1)
    if schedule == "linear":
        return np.linspace(0.1, 20, T + 1) / (T + 1)
    place = np.arange(T + 3) / (T + 2)
    curve = np.cos((place + 0.008) / 1.008 * np.pi / 2) ** 2
    return 1 - curve[1:-1] / curve[0]


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
@pytest.mark.parametrize(("sigma", "T", "eps"), [(25, 50, 0.005), (0.3, 300, 0.02), (1, 10, 0.1)])
def test_mean_reverting_schedules(schedule, sigma, T, eps):
    theta = thetas(schedule, T)
    passed = theta.cumsum() - theta[0]
    passed *= -np.log(eps) / passed[-1]
    stationary = sigma / 255 if sigma >= 1 else sigma
    deviation = stationary * np.sqrt(1 - np.exp(-2 * passed))
    sde, bridge = (kind(sigma, T=T, schedule=schedule, eps=eps) for kind in (IRSDE, GOUB))
    # The published schedules are computed in float32, the cosine one as a difference from 1.
    np.testing.assert_allclose(sde.thetas, theta, rtol=1e-5, atol=3e-7)
    np.testing.assert_allclose(sde.sigma_bars, deviation, rtol=0, atol=1e-4 * stationary)
    a, b, spread = (value.flatten().numpy() for value in sde.marginal(torch.arange(T + 1)))
    np.testing.assert_allclose(a, np.exp(-passed), atol=1e-4)
    np.testing.assert_allclose(a + b, 1, rtol=1e-6)
    np.testing.assert_allclose(spread, deviation, rtol=0, atol=1e-4 * stationary)
    until_end = stationary * np.sqrt(1 - np.exp(-2 * (passed[-1] - passed)))
    a, _, spread = (value.flatten().numpy() for value in bridge.marginal(torch.arange(T + 1)))
    np.testing.assert_allclose(a, np.exp(-passed) * until_end**2 / deviation[-1] ** 2, atol=1e-4)
    np.testing.assert_allclose(spread, deviation * until_end / deviation[-1], rtol=0, atol=1e-3 * stationary)


def test_names_of_the_published_attributes():
    sde = IRSDE(max_sigma=50, T=100, sample_T=25)
    assert (sde.T, sde.sample_T, sde.sample_scale, sde.num_timesteps) == (100, 25, 4, 25)
    assert IRSDE(50, 40, "linear", 0.02).T == 40
    assert GOUB(30).lambda_square == pytest.approx(30 / 255)
    assert DenoisingSDE(75).max_sigma == pytest.approx(75 / 255)


@pytest.mark.parametrize(
    ("interval", "n", "expected"),
    [
        # Halves go to the even step: of 166.5, 333, 499.5, 666, 832.5.
        (1000, 6, [999, 832, 666, 500, 333, 166]),
        (1000, 2, [999, 500]),
        (10, 9, [9, 8, 7, 6, 5, 4, 3, 2, 1]),
    ],
)
def test_i2sb_takes_the_published_steps(interval, n, expected):
    assert I2SB(interval=interval).sample_steps(n) == expected


def test_i2sbs_ot_ode_has_no_noise_in_training_or_sampling():
    bridge, noisy = I2SB(interval=20, predicts="x0", ot_ode=True), I2SB(interval=20, predicts="x0")
    a, b, sigma = bridge.marginal(9)
    torch.testing.assert_close(bridge.add_noise(X, MU, Z, 9), a * X + b * MU)
    torch.testing.assert_close(noisy.add_noise(X, MU, Z, 9), a * X + b * MU + sigma * Z)
    runs = [
        PosteriorSampler(noise=noise).sample(lambda x, t: 0.5 * x, process, MU).sample
        for process, noise in ((bridge, True), (bridge, False), (noisy, False))
    ]
    assert torch.equal(runs[0], runs[1])
    assert torch.equal(runs[1], runs[2])


@pytest.mark.parametrize("beta_max", [0.001, 0.05, 2.0])
def test_i2sb_with_any_beta(beta_max):
    bridge = I2SB(interval=100, beta_max=beta_max)
    half = np.linspace(1e-4**0.5, (beta_max / 100) ** 0.5, 100)[:50] ** 2
    np.testing.assert_allclose(bridge.betas, np.concatenate([half, half[::-1]]), rtol=1e-6)


def test_resshift_with_fewer_steps_of_a_long_schedule():
    """The published spacing takes the first of equal portions; the chain then is one of its own."""
    long, short = ResShift(steps=20, predict_type="xstart"), ResShift(steps=20, timestep_respacing=6)
    kept = [int(20 / 6 * i) for i in range(6)]
    torch.testing.assert_close(short.etas[1:], long.etas[1:][kept])
    assert short.num_timesteps == 6
    assert [short.network_input(X, t)[1] for t in range(1, 7)] == kept
    assert short.network_input(X[:1].expand(3, -1, -1, -1), torch.tensor([1, 3, 6]))[1].tolist() == [0, 6, 16]
    torch.testing.assert_close(short.start(MU, Z), MU + short.kappa * short.etas[-1].sqrt() * Z)


def test_resshifts_predictions_lead_to_the_same_picture():
    for kind in ("xstart", "epsilon", "epsilon_scale", "residual"):
        shift = ResShift(steps=10, predict_type=kind)
        x_t = shift.add_noise(X, MU, Z, 6)
        out = shift.target(x_t, X, MU, Z, 6)
        torch.testing.assert_close(shift.x0_from_output(x_t, out, MU, 6), X, rtol=1e-4, atol=1e-4)
    scaled = ResShift(steps=10, predict_type="epsilon_scale")
    torch.testing.assert_close(scaled.target(X, X, MU, Z, 6), 2 * scaled.etas[6].sqrt() * Z)


TWO = {
    "pred_res_noise": ("res_noise", "res", "noise"),
    "pred_x0_noise": ("res_noise",),
}
SINGLE = {"pred_res": ("res_noise",), "pred_noise": ("res_noise",)}


@pytest.mark.parametrize(
    ("objective", "tested"), [(name, kind) for name, kinds in {**TWO, **SINGLE}.items() for kind in kinds]
)
def test_diffuirs_objectives_take_the_published_step(objective, tested):
    process = ResidualDiffusion(delta_end=1.2e-3, objective=objective, test_res_or_noise=tested)
    t, t_prev = process.sample_steps(4)[1:3]
    (A, A_prev), (D, D_prev) = (
        [x[s].item() for s in (t, t_prev)] for x in (process.alphas_cumsum, process.delta_cumsum)
    )
    B = process.betas_cumsum[t].item()
    first, noise = 0.3 * torch.sin(3 * X), 0.2 * torch.cos(X)

    def clip(x):
        return x.clamp(-1, 1)

    from_noise = clip((X - A * MU - B * noise) / (1 - A))
    residual, x0 = {
        ("pred_res", "res_noise"): (clip(first), clip(MU - clip(first))),
        ("pred_noise", "res_noise"): (clip(MU - from_noise), from_noise),
        ("pred_res_noise", "res_noise"): (clip(first), clip(X - A * clip(first) - B * noise)),
        ("pred_res_noise", "res"): (clip(first), clip(MU - clip(first))),
        ("pred_res_noise", "noise"): (clip(MU - from_noise), from_noise),
        ("pred_x0_noise", "res_noise"): (clip(MU - first), clip(first)),
    }[objective, tested]
    out = {"pred_res": first, "pred_noise": noise}.get(objective, torch.cat([first, noise], 1))
    result = ResidualSampler().sample(
        lambda x, told: out, process, MU, x_start=X, timesteps=[t, t_prev], return_trajectory=True
    )
    expected = X - (A - A_prev) * residual + (D - D_prev) * MU
    torch.testing.assert_close(result.trajectory[1], expected)
    torch.testing.assert_close(process.parts(X, out, MU, t, (-1, 1))[1], x0)
    # The network is told the share of the residual, or of the noise where that is all it predicts.
    told = (process.betas_cumsum if objective == "pred_noise" else process.alphas_cumsum)[t].item() * 1000
    assert process.network_input(X, t)[1] == pytest.approx(told)


def test_diffuir_takes_the_published_steps():
    for T, n in ((1000, 3), (1000, 26), (1000, 60), (250, 52), (100, 90), (7, 7)):
        published = torch.linspace(-1, T - 1, steps=n + 1).int().tolist()[1:]
        assert ResidualDiffusion(T).sample_steps(n) == [t + 1 for t in reversed(published)]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"type": "I2SB", "ot_ode": True, "predicts": "eps"}, "ot_ode=True"),
        ({"type": "I2SB", "beta_max": 0}, "beta_max=0"),
        ({"type": "ResShift", "timestep_respacing": 16}, "timestep_respacing=16"),
        ({"type": "DiffUIR", "test_res_or_noise": "both"}, "test_res_or_noise='both'"),
    ],
)
def test_wrong_settings_are_named(config, message):
    with pytest.raises(ConfigError, match=message):
        SCHEDULERS.build(config)


def test_diffuirs_sampler_needs_its_process():
    with pytest.raises(ConfigError, match="not of ResShift"):
        ResidualSampler().sample(lambda x, t: x, ResShift(), MU)
