import pytest
import torch

from benchmarks import guidance_exact_prior
from dtir.diffusion.schedulers import DDPMScheduler
from dtir.testing.stationary_prior import StationaryPrior


def test_the_prior_has_its_spread_and_its_denoiser_is_the_best():
    prior, process = StationaryPrior(32, 48), DDPMScheduler(50).double()
    x = prior.draw(64)
    assert x.shape == (64, 3, 32, 48)
    assert x.std().item() == pytest.approx(0.5, rel=0.05)
    neighbours = (x - x.roll(1, 3)).square().mean() / x.square().mean()
    # Of independent pixels it is 2.
    assert neighbours < 0.7
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    t = torch.full((64,), 20)
    state = process.add_noise(x, noise, t)
    best = (prior.denoiser(process)(state, t) - noise).square().mean()
    for factor in (0.9, 1.1):
        assert best < (factor * prior.denoiser(process)(state, t) - noise).square().mean()
    other = StationaryPrior(32, 48, corner=0.5)
    assert best < 0.95 * (other.denoiser(process)(state, t) - noise).square().mean()


def test_one_sample_stands_beside_the_mean(monkeypatch, capsys):
    arguments = ["x", "--only", "ddnm_sr", "--sides", "16", "--pictures", "2", "--samples", "4"]
    monkeypatch.setattr("sys.argv", arguments)
    assert guidance_exact_prior.main() == 0
    header, _, row = capsys.readouterr().out.strip().splitlines()[-3:]
    assert "| one sample | mean of 4 |" in header
    *_, one, mean = (float(cell) for cell in row.strip("| ").split(" | ")[3:])
    assert mean > one + 0.5
