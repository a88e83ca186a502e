import pytest
import torch

from dtir.core.errors import ConfigError
from dtir.diffusion import NoiseLevel, TimestepLevel
from dtir.diffusion.schedulers import VESDE, VPSDE, DDPMScheduler
from dtir.registry import LEVELS

LONG = DDPMScheduler(2000, 2000, 1e-6, 0.01)


def test_step_is_given_as_it_is():
    t = torch.tensor([1, 7, 2000])
    a, sigma, level = TimestepLevel().draw(LONG, t, torch.rand(3))
    assert level.tolist() == TimestepLevel().of_step(LONG, t).tolist() == [1, 7, 2000]
    torch.testing.assert_close(a.flatten(), LONG.alphas_cumprod[t].sqrt())
    torch.testing.assert_close(sigma.flatten(), (1 - LONG.alphas_cumprod[t]).sqrt(), atol=1e-4, rtol=1e-4)


def test_level_is_uniform_between_those_of_neighbouring_steps():
    t, u = torch.tensor([1000, 1000, 1000]), torch.tensor([0.0, 0.25, 1.0])
    a, sigma, level = NoiseLevel(scale=100).draw(LONG, t, u)
    low, high = LONG.alphas_cumprod[1000].sqrt(), LONG.alphas_cumprod[999].sqrt()
    torch.testing.assert_close(a.flatten(), low + u * (high - low))
    torch.testing.assert_close(level, 100 * a.flatten())
    torch.testing.assert_close(a**2 + sigma**2, torch.ones_like(a))


def test_levels_next_to_the_clean_picture_keep_their_digits():
    a, sigma, _ = NoiseLevel().draw(LONG, torch.tensor([1]), torch.tensor([0.5]))
    exact_a = (1 + (1 - 1e-6) ** 0.5) / 2
    assert sigma.item() == pytest.approx((1 - exact_a**2) ** 0.5, rel=1e-4)
    assert a.item() == pytest.approx(exact_a, rel=1e-7)
    a, sigma, _ = NoiseLevel().draw(LONG, torch.tensor([1]), torch.tensor([1.0]))
    assert (a.item(), sigma.item()) == (1, 0)


@pytest.mark.parametrize("scheduler", [DDPMScheduler(50), VPSDE(N=50)])
def test_a_sampler_visits_the_levels_of_its_own_schedule(scheduler):
    t = torch.tensor([1, 25, 50])
    torch.testing.assert_close(NoiseLevel().of_step(scheduler, t), 1000 * scheduler.marginal(t)[0].flatten())


def test_what_cannot_be_sampled_is_refused():
    other = DDPMScheduler(10)
    NoiseLevel().check(LONG, other)
    TimestepLevel().check(other, other)
    with pytest.raises(ConfigError, match="knows its own schedule only"):
        TimestepLevel().check(LONG, other)
    with pytest.raises(ConfigError, match="VESDE is none"):
        NoiseLevel().check(LONG, VESDE(N=10))


def test_they_are_registered():
    assert LEVELS.build({"type": "NoiseLevel", "scale": 2.0}).scale == 2
    assert isinstance(LEVELS.build({"type": "TimestepLevel"}), TimestepLevel)
