"""DDBM's hybrid sampler against the published formulas, written with the bridge's own score."""

import itertools
import math

import numpy as np
import pytest
import torch

from dtir.core.errors import ConfigError
from dtir.diffusion.samplers import DDBMSampler
from dtir.diffusion.schedulers import DDBM, I2SB

MU, X0 = torch.randn(2, 2, 1, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
ENDS = {"ve": 80.0, "vp": 1.0}


def network(x: torch.Tensor, time: float) -> torch.Tensor:
    return 0.5 * x + 0.3 * torch.sin(3 * x) + 0.02 * time


def published(kind: str, n: int, churn: float, w: float, noise: torch.Tensor) -> torch.Tensor:
    """Algorithm 1 on the Karras times, from MU."""
    end = ENDS[kind]
    roots = np.linspace((end - 1e-4) ** (1 / 7), 0.002 ** (1 / 7), n)
    times = [*(roots**7), 0.0]

    def free(t):
        if kind == "ve":
            return 1.0, t, 0.0, 2 * t
        integral, beta = t**2 + 0.1 * t, 2 * t + 0.1
        return math.exp(-integral / 2), math.sqrt(1 - math.exp(-integral)), -beta / 2, beta

    alpha_end, sigma_end, *_ = free(end)

    def slope(x, x0, t, stochastic):
        alpha, sigma, f, g2 = free(t)
        log_ratio = 2 * math.log(alpha_end * sigma / (sigma_end * alpha))
        left = -math.expm1(log_ratio)
        mean = math.exp(log_ratio) * alpha / alpha_end * MU + left * alpha * x0
        score = -(x - mean) / (sigma**2 * left)
        h = -(x - alpha / alpha_end * MU) / sigma**2 / math.expm1(-log_ratio)
        return f * x - g2 * ((1.0 if stochastic else 0.5) * score - w * h), g2

    x = MU
    for i, (now, then) in enumerate(itertools.pairwise(times)):
        hat = now
        if churn:
            hat = now + churn * (then - now)
            d, g2 = slope(x, network(x, now), now, True)
            x = x + d * (hat - now) + noise[i] * math.sqrt((now - hat) * g2)
        d, _ = slope(x, network(x, hat), hat, False)
        ahead = x + d * (then - hat)
        x = ahead if then == 0 else x + (then - hat) * (d + slope(ahead, network(ahead, then), then, False)[0]) / 2
    return x


@pytest.mark.parametrize("kind", ["ve", "vp"])
@pytest.mark.parametrize(("churn", "w"), [(0.33, 1.0), (0.0, 1.0), (0.5, 0.5)])
def test_trajectories_are_the_published_ones(kind, churn, w, monkeypatch):
    noise = torch.randn(10, 2, 1, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = published(kind, 10, churn, w, noise)
    rows = iter(noise)
    monkeypatch.setattr(torch, "randn", lambda shape, **options: next(rows))
    result = DDBMSampler(churn, w).sample(
        lambda x, t: network(x, t[0].item()), DDBM(kind, num_timesteps=10).double(), MU
    )
    torch.testing.assert_close(result.sample, expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
    assert result.num_evals == (29 if churn else 19)


@pytest.mark.parametrize("cov_xy", [None, 0.0, 0.1])
@pytest.mark.parametrize("kind", ["ve", "vp"])
def test_a_time_is_the_step_that_has_it(kind, cov_xy):
    bridge = DDBM(kind, num_timesteps=12, predicts="preconditioned", cov_xy=cov_xy).double()
    for t in (1, 5, 11):
        time = bridge.times[t].item()
        for of_time, of_step in (
            (bridge.marginal(time), bridge.marginal(t)),
            (bridge.preconditioning(time), bridge.preconditioning(t)),
        ):
            torch.testing.assert_close(torch.stack(of_time), torch.stack(of_step), rtol=1e-5, atol=1e-6)
        told = [bridge.network_input(MU, where)[1] for where in (time, t, torch.tensor([t]))]
        assert told[0] == pytest.approx(told[1], rel=1e-5)
        assert told[0] == pytest.approx(told[2].item(), rel=1e-5)
        x_t = bridge.add_noise(X0, MU, MU, t)
        out = bridge.target(x_t, X0, MU, MU, t)
        torch.testing.assert_close(bridge.x0_from_output(x_t, out, MU, time), X0, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("predicts", ["x0", "preconditioned"])
@pytest.mark.parametrize("kind", ["ve", "vp"])
def test_a_tensor_of_times_is_each_time_by_itself(kind, predicts):
    bridge = DDBM(kind, num_timesteps=12, predicts=predicts).double()
    times = bridge.time_at(torch.tensor([0.0, 0.3, 0.999], dtype=torch.float64))
    assert times[0] == bridge.sigma_min
    assert bridge.sigma_min < times[1] < times[2] < bridge.sigma_max
    x0, mu, eps = torch.randn(3, 3, 1, 2, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    x_t = bridge.add_noise(x0, mu, eps, times)
    out = bridge.target(x_t, x0, mu, eps, times)
    seen, told = bridge.network_input(x_t, times)
    for k, time in enumerate(times.tolist()):
        one = [value[k : k + 1] for value in (x0, mu, eps)]
        torch.testing.assert_close(x_t[k : k + 1], bridge.add_noise(*one, time))
        torch.testing.assert_close(out[k : k + 1], bridge.target(x_t[k : k + 1], *one, time))
        state, number = bridge.network_input(x_t[k : k + 1], time)
        torch.testing.assert_close(seen[k : k + 1], state)
        assert told[k].item() == pytest.approx(number)
    torch.testing.assert_close(bridge.x0_from_output(x_t, out, mu, times), x0)


@pytest.mark.parametrize("kind", ["ve", "vp"])
def test_all_times_that_the_sampler_asks_for_are_trained(kind):
    """Two of three are between those of the grid."""
    bridge, asked = DDBM(kind, num_timesteps=40).double(), []
    DDBMSampler().sample(lambda x, t: asked.append(t[0].item()) or network(x, t[0]), bridge, MU)
    assert len(asked) == 119
    assert sum(min(abs(t / on_grid - 1) for on_grid in bridge.sampled_times[1:]) > 1e-5 for t in asked) == 40
    # As published, the noisy part of the last step alone goes below the first time that is trained.
    below = [t for t in asked if t < bridge.sigma_min * (1 - 1e-6)]
    assert below == [pytest.approx(0.67 * bridge.sigma_min)]
    assert max(asked) < bridge.sigma_max


def test_predictions_are_clipped():
    bridge = DDBM("vp", num_timesteps=6).double()
    far = lambda x, t: torch.full_like(x, 3.0)  # noqa: E731
    found = DDBMSampler(clip=(-1.0, 1.0)).sample(far, bridge, MU, generator=torch.Generator().manual_seed(0))
    ends = DDBMSampler().sample(lambda x, t: torch.ones_like(x), bridge, MU, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(found.sample, ends.sample)


def test_wrong_use_is_named():
    with pytest.raises(ConfigError, match="churn_step_ratio=1"):
        DDBMSampler(1.0)
    with pytest.raises(ConfigError, match="not of I2SB"):
        DDBMSampler().sample(lambda x, t: x, I2SB(), MU)
