"""The conditional restorer whose network predicts something else than the noise: x_0, v, and EDM's output."""

import pytest
import torch
from conditional_case import BestForGaussian, batch, by_hand, make
from torch import nn

from dtir.diffusion.domain import to_centred
from dtir.diffusion.predictions import coefficients
from dtir.registry import BACKBONES, LEVELS


@pytest.mark.parametrize("kind", ["x0", "v", "edm"])
def test_the_loss_of_other_predictions_by_hand(kind):
    lq, samples = batch()
    x_t, condition, level, eps = by_hand(lq, samples["gt"], discrete=False)
    a, x0 = (level / 1000).view(-1, 1, 1, 1), 2 * samples["gt"] - 1
    sigma = (1 - a**2).sqrt()
    total = a**2 * 0.36 + sigma**2
    targets = {"x0": x0, "v": a * eps - sigma * x0, "edm": (sigma / 0.6 * x0 - a * 0.6 * eps) / total.sqrt()}
    weights = {"x0": 1, "v": 1 / (a**2 / sigma**2 + 1), "edm": sigma**2 * 0.36 / total}
    seen = x_t / total.sqrt() if kind == "edm" else x_t
    error = (seen / 2 - condition / 4 + level.view(-1, 1, 1, 1) / 2000 - targets[kind]).square()
    plain, weighted = (
        make(predicts=kind, sigma_data=0.6, loss_weight=weight)(lq, samples, mode="loss")["loss_noise"]
        for weight in ("uniform", "min_snr")
    )
    torch.testing.assert_close(plain, error.mean(), rtol=1e-3, atol=1e-4)
    bounded = (a**2 / sigma**2).clamp(max=5) * weights[kind]
    torch.testing.assert_close(weighted, (bounded * error).mean(), rtol=1e-3, atol=1e-4)


@BACKBONES.register_module()
class OtherPrediction(nn.Module):
    """`BestForGaussian` as a network that predicts something else."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.best = kind, BestForGaussian()

    def forward(self, x, condition, level):
        a = level.view(-1, 1, 1, 1) / 1000
        of = coefficients(self.kind, a, (1 - a**2).sqrt())
        state = x / of.scale
        return (self.best(state, condition, level) - of.eps_x * state) / of.eps_out


@pytest.mark.parametrize("kind", ["x0", "v", "edm"])
def test_other_predictions_sample_the_same(kind):
    lq = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(4))
    options = {"clip": 1.0, "num_steps": 10}
    expected = make("BestForGaussian", **options).restore(lq, torch.zeros(2))
    found = make({"type": "OtherPrediction", "kind": kind}, predicts=kind, **options).restore(lq, torch.zeros(2))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@BACKBONES.register_module()
class BestPreconditioned(nn.Module):
    """The exact output of EDM where x_0 given y is N(y / 2, 0.2^2); it is told 250 log sigma."""

    def forward(self, x, condition, level):
        sigma = (level / 250).exp().view(-1, 1, 1, 1)
        of = coefficients("edm", torch.ones_like(sigma), sigma)
        state = x / of.scale
        eps = sigma * (state - condition / 2) / (0.04 + sigma**2)
        return (eps - of.eps_x * state) / of.eps_out


@pytest.mark.parametrize(
    "sampler", [{"type": "HeunSampler"}, {"type": "HeunSampler", "churn": 10.0}, {"type": "UniPCSampler"}], ids=str
)
def test_edm_trains_and_samples_the_conditional_distribution(sampler):
    options = {"level": {"type": "LogNormalLevel"}, "predicts": "edm", "clip": None, "num_steps": None}
    scheduler = {"type": "EDMScheduler", "num_timesteps": 60}
    model = make("BestPreconditioned", scheduler=scheduler, sampler=sampler, **options)
    lq = torch.full((1, 3, 64, 64), 0.8)
    samples = to_centred(model.restore(lq, torch.zeros(1)))
    assert samples.mean() == pytest.approx(0.3, abs=0.01)
    assert samples.std() == pytest.approx(0.2, rel=0.03)
    # Of pictures of that law, no scaling of the exact output has a smaller loss.
    gt = 0.5 + 0.15 + 0.1 * torch.randn(64, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    data = {**batch(64, 8)[1], "gt": gt}
    exact = model.call_network
    losses = []
    for factor in (0.9, 1.0, 1.1):
        model.call_network = lambda *args, factor=factor: factor * exact(*args)
        losses.append(model.losses(torch.full((64, 3, 8, 8), 0.8), data)["loss_noise"].item())
    assert losses[1] < min(losses[0], losses[2])


def test_levels_of_edm_are_log_normal():
    level, u = LEVELS.build({"type": "LogNormalLevel"}), torch.rand(20000, generator=torch.Generator().manual_seed(0))
    a, sigma, told = level.draw(None, torch.ones(20000).long(), torch.cat([u[1:], torch.zeros(1)]))
    logarithm = sigma.flatten().log()
    assert (a == 1).all()
    assert logarithm.isfinite().all()
    assert logarithm.mean() == pytest.approx(-1.2, abs=0.03)
    assert logarithm.std() == pytest.approx(1.2, abs=0.03)
    torch.testing.assert_close(told, 250 * logarithm, rtol=1e-5, atol=1e-3)
