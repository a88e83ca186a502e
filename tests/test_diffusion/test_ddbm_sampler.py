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


def test_wrong_use_is_named():
    with pytest.raises(ConfigError, match="churn_step_ratio=1"):
        DDBMSampler(1.0)
    with pytest.raises(ConfigError, match="not of I2SB"):
        DDBMSampler().sample(lambda x, t: x, I2SB(), MU)
