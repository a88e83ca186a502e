"""The statistics of damage, where they are known in closed form."""

import math
from dataclasses import astuple

import pytest
import torch

from dtir.evaluation.damage import (
    FINE,
    MAX_PSNR,
    DamageStatistics,
    damage_statistics,
    mean_statistics,
    statistic_names,
)

C1 = (0.01 * 255) ** 2


def noise(sigma: float, seed: int = 0) -> torch.Tensor:
    return sigma * torch.randn(3, 128, 128, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def wave(period: float, amplitude: float = 0.2) -> torch.Tensor:
    row = amplitude * torch.sin(2 * torch.pi * torch.arange(128, dtype=torch.float64) / period)
    return row.expand(3, 128, 128)


def flat(value: float) -> torch.Tensor:
    return torch.full((3, 128, 128), value, dtype=torch.float64)


@pytest.mark.parametrize("offset", [-0.2, 0.1])
def test_a_constant_offset(offset):
    found = damage_statistics(flat(0.5 + offset), flat(0.5))
    a, b = 255 * (0.5 + offset), 255 * 0.5
    assert found.psnr == pytest.approx(-20 * math.log10(abs(offset)))
    assert found.ssim == pytest.approx((2 * a * b + C1) / (a * a + b * b + C1))
    assert found.brightness == pytest.approx(offset)
    assert found.gradient == 0
    assert found.coarse == pytest.approx(1)
    assert found.fine == pytest.approx(0)


def test_white_noise_has_its_sigma():
    found = damage_statistics(flat(0.5) + noise(0.1), flat(0.5) + noise(0.02, seed=1))
    assert found.psnr == pytest.approx(-10 * math.log10(0.1**2 + 0.02**2), abs=0.05)
    assert found.brightness == pytest.approx(0, abs=2e-3)
    assert found.gradient == pytest.approx(math.log2(0.1 / 0.02), abs=0.02)


def test_white_noise_spreads_over_all_bands():
    found = mean_statistics([damage_statistics(flat(0.5) + noise(0.1, seed), flat(0.5)) for seed in range(20)])
    # Of the 128 x 128 waves, 45 are longer than 32 pixels: those (i, j) with i^2 + j^2 < 4^2.
    assert found.coarse == pytest.approx(45 / 128**2, rel=0.1)
    assert found.fine == pytest.approx(1 - math.pi * FINE**2, abs=2e-3)


@pytest.mark.parametrize(("period", "coarse", "fine"), [(64, 1, 0), (16, 0, 0), (4, 0, 1)])
def test_a_wave_lies_in_its_band(period, coarse, fine):
    found = damage_statistics(flat(0.5) + wave(period), flat(0.5))
    assert found.coarse == pytest.approx(coarse, abs=1e-9)
    assert found.fine == pytest.approx(fine, abs=1e-9)
    assert found.psnr == pytest.approx(-10 * math.log10(0.2**2 / 2))


def test_gradient_is_the_logarithm_of_the_contrast():
    clean = flat(0.5) + noise(0.1)
    assert damage_statistics(0.5 + (clean - 0.5) / 4, clean).gradient == pytest.approx(-2)
    assert damage_statistics(clean, 0.5 + (clean - 0.5) / 4).gradient == pytest.approx(2)


def test_nothing_changed():
    clean = flat(0.5) + noise(0.1)
    assert damage_statistics(clean, clean) == DamageStatistics(MAX_PSNR, pytest.approx(1), 0, 0, 0, 0)


def test_mean_of_each_number():
    first, second = DamageStatistics(10, 0.2, -0.1, 1, 0.3, 0.4), DamageStatistics(20, 0.4, 0.3, -2, 0.5, 0.0)
    assert astuple(mean_statistics([first, second])) == pytest.approx((15, 0.3, 0.1, -0.5, 0.4, 0.2))
    assert statistic_names() == ("psnr", "ssim", "brightness", "gradient", "coarse", "fine")


@pytest.mark.parametrize("height", [10, 32])
def test_unlike_or_too_small_pictures_are_an_error(height):
    with pytest.raises(ValueError, match=r"11|\(1, 3, 32, 32\)"):
        damage_statistics(torch.zeros(3, height, 32), torch.zeros(3, 10, 32))
