"""Matching in a run: the units of the model's residual, and the options of the hook."""

import pytest
import torch
from tiny_run import built
from torch import nn

from dtir.core.errors import ConfigError
from dtir.engine.hooks import TimestepMatchingHook


class Finding(nn.Module):
    """F(x, t) of a network that finds unit noise `eps`, whatever the step, in the units of its model."""

    num_timesteps = 50

    def __init__(self, eps: torch.Tensor, scale) -> None:
        super().__init__()
        self.eps, self.scale = nn.Parameter(eps), scale

    def forward(self, x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return x - self.scale(t) * self.eps[: len(x)]


@pytest.mark.parametrize("units", ["eps", "image"])
def test_gaussian_noise_matches_the_step_of_its_level(tmp_path, monkeypatch, units):
    runner = built(tmp_path, **{"model.noise_units": units})
    model = runner.model
    device = next(model.parameters()).device
    gt = (torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0)) / 2 + 0.25).to(device)
    eps = (torch.randn(gt.shape, generator=torch.Generator().manual_seed(1)) / 8).to(device)
    lq = gt + model.scheduler.noise_scale(6) * eps
    model.network = Finding(eps, model.scheduler.noise_scale if units == "image" else lambda t: 1.0)
    hook = TimestepMatchingHook(num_images=2)
    monkeypatch.setattr(hook, "_pairs", lambda *_: (lq, gt))
    assert hook._match(runner, 0, 0).t_star == 6


@pytest.mark.parametrize(("method", "options"), [("predict_x0", {}), ("diffuse_reverse", {"max_reverse_steps": 1})])
def test_method_and_options_reach_the_matching(tmp_path, method, options):
    runner = built(tmp_path)
    runner.model.eval()
    curve = TimestepMatchingHook(num_images=1, method=method, options=options)._match(runner, 0, 0)
    plain = TimestepMatchingHook(num_images=1)._match(runner, 0, 0)
    assert (curve.method, plain.method) == (method, "subtract")
    assert curve.scores != plain.scores
    with pytest.raises(ConfigError, match="unknown option 'steps'"):
        TimestepMatchingHook(num_images=1, method=method, options={"steps": 1})._match(runner, 0, 0)
