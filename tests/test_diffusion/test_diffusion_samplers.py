import pytest
import torch

from dtir.core.errors import ConfigError
from dtir.diffusion import AncestralSampler, DDIMSampler, DDPMScheduler
from dtir.diffusion.samplers import gaussian_like
from dtir.registry import SAMPLERS

DIM = 8


class GaussianPrior:
    """Prior N(mean, cov) over vectors kept as (B, D, 1, 1), with its exact denoiser."""

    def __init__(self, dim: int = DIM, seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        factor = torch.randn(dim, dim, generator=generator, dtype=torch.float64) / dim**0.5
        self.mean = torch.randn(dim, generator=generator, dtype=torch.float64) / 2
        self.cov = factor @ factor.T * 0.3 + 0.02 * torch.eye(dim, dtype=torch.float64)

    def noisy_cov(self, a: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
        return a**2 * self.cov + sigma**2 * torch.eye(len(self.cov), dtype=torch.float64)

    def start(self, scheduler: DDPMScheduler, n: int, t: int) -> torch.Tensor:
        a, sigma = (value.flatten().double() for value in scheduler.marginal(t))
        factor = torch.linalg.cholesky(self.noisy_cov(a, sigma))
        z = torch.randn(n, len(self.mean), generator=torch.Generator().manual_seed(7), dtype=torch.float64)
        # Whitened, so that only the sampler's own noise is left as Monte-Carlo error.
        z = z - z.mean(0)
        z = torch.linalg.solve_triangular(torch.linalg.cholesky(z.T @ z / n), z.T, upper=False).T
        return (a * self.mean + z @ factor.T)[..., None, None]

    def denoiser(self, scheduler: DDPMScheduler):
        def eps(x_t, t):
            a, sigma = (value.flatten()[0].double() for value in scheduler.marginal(t[:1]))
            gain = sigma * torch.linalg.inv(self.noisy_cov(a, sigma))
            return ((x_t.flatten(1) - a * self.mean) @ gain.T)[..., None, None]

        return eps


def moments(sample: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    flat = sample.flatten(1)
    return flat.mean(0), torch.cov(flat.T, correction=0)


@pytest.fixture(scope="module")
def fine() -> DDPMScheduler:
    return DDPMScheduler(1000).double()


def run(sampler, scheduler, prior, n=4000, **kwargs):
    t = kwargs.get("timesteps", [scheduler.num_timesteps])[0]
    generator = torch.Generator().manual_seed(3)
    return sampler.sample(
        prior.denoiser(scheduler), scheduler, prior.start(scheduler, n, t), generator=generator, **kwargs
    )


def test_ddim_reproduces_a_correlated_gaussian(fine):
    prior = GaussianPrior()
    mean, cov = moments(run(DDIMSampler(), fine, prior).sample)
    # The start has the exact moments and the map is affine: what is left is the discretisation of 1000 steps.
    torch.testing.assert_close(mean, prior.mean, atol=5e-3, rtol=0)
    torch.testing.assert_close(cov, prior.cov, atol=5e-3, rtol=0)


@pytest.mark.parametrize("sampler", [DDIMSampler(eta=0.5), DDIMSampler(eta=1.0), AncestralSampler()])
def test_stochastic_samplers_reproduce_a_correlated_gaussian(fine, sampler):
    prior, n = GaussianPrior(), 4000
    mean, cov = moments(run(sampler, fine, prior, n).sample)
    scale = prior.cov.diagonal()
    assert ((mean - prior.mean).abs() < 5 * (scale / n).sqrt() + 5e-3).all()
    assert ((cov - prior.cov).abs() < 5 * ((scale[:, None] * scale + prior.cov**2) / n).sqrt() + 5e-3).all()


def test_ddim_error_shrinks_at_first_order(fine):
    prior = GaussianPrior()
    reference = run(DDIMSampler(), fine, prior, n=64).sample
    errors = [
        (run(DDIMSampler(), fine, prior, n=64, num_steps=k).sample - reference).square().mean().sqrt()
        for k in (10, 20, 40)
    ]
    ratios = [(errors[i] / errors[i + 1]).item() for i in range(2)]
    assert all(1.6 < ratio < 2.6 for ratio in ratios), ratios


def test_eta_one_is_ancestral_sampling():
    scheduler, prior = DDPMScheduler().double(), GaussianPrior()
    for kwargs in ({}, {"num_steps": 7}, {"timesteps": [30, 11, 2]}):
        ddim = run(DDIMSampler(eta=1.0), scheduler, prior, n=16, **kwargs).sample
        ancestral = run(AncestralSampler(), scheduler, prior, n=16, **kwargs).sample
        torch.testing.assert_close(ddim, ancestral, atol=1e-7, rtol=1e-7)


@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_one_ddim_step_adds_eta_squared_times_the_posterior_variance(eta):
    scheduler, n = DDPMScheduler(), 100_000
    x = torch.zeros(n, 1, 1, 1)
    generator = torch.Generator().manual_seed(0)
    stepped = DDIMSampler(eta).step(scheduler, x, x, 20, 19, generator)
    variance = eta**2 * scheduler.posterior(x[:1], x[:1], 20, 19)[1].item()
    assert abs(stepped.var().item() - variance) < 5 * variance * (2 / n) ** 0.5


def test_exact_denoiser_of_one_image_is_inverted_in_any_number_of_steps():
    scheduler, x0 = DDPMScheduler(), torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    start = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    for num_steps in (1, 3, 50):
        result = DDIMSampler().sample(
            lambda x, t: scheduler.eps_from_x0(x, x0, t), scheduler, start, num_steps=num_steps
        )
        torch.testing.assert_close(result.sample, x0.expand(2, -1, -1, -1), atol=1e-4, rtol=0)


def test_steps_seen_trajectory_and_callback():
    scheduler, seen, reports = DDPMScheduler(), [], []

    def denoiser(x, t):
        seen.append(t.tolist())
        return x * 0.1

    result = DDIMSampler().sample(
        denoiser,
        scheduler,
        torch.ones(2, 3, 4, 4),
        timesteps=[40, 9],
        callback=lambda done, t, x: reports.append((done, t, x)),
        return_trajectory=True,
    )
    assert seen == [[40, 40], [9, 9]]
    assert result.num_evals == 2
    assert [(done, t) for done, t, _ in reports] == [(1, 9), (2, 0)]
    assert len(result.trajectory) == 3
    assert torch.equal(result.trajectory[-1], result.sample)
    assert torch.equal(reports[0][2], result.trajectory[1])


def test_generator_decides_the_noise_and_the_global_state_is_left_alone():
    x, scheduler = torch.zeros(1, 3, 4, 4), DDPMScheduler()
    state = torch.get_rng_state()

    def sample(seed):
        generator = torch.Generator().manual_seed(seed)
        return AncestralSampler().sample(lambda x, t: x, scheduler, x, num_steps=3, generator=generator).sample

    assert torch.equal(sample(0), sample(0))
    assert not torch.equal(sample(0), sample(1))
    assert torch.equal(torch.get_rng_state(), state)


def test_gaussian_like_follows_type_and_shape():
    noise = gaussian_like(torch.zeros(2, 5, dtype=torch.float64), torch.Generator().manual_seed(0))
    assert noise.dtype == torch.float64
    assert noise.shape == (2, 5)


@pytest.mark.parametrize("sampler", [DDIMSampler(), DDIMSampler(eta=1.0), AncestralSampler()])
def test_sampling_never_waits_for_the_device(sampler):
    """Reading a value of a tensor on the meta device is an error, so any synchronisation would raise."""
    x = torch.empty(2, 3, 4, 4, device="meta")
    result = sampler.sample(lambda x, t: x * 0.5, DDPMScheduler().to("meta"), x, num_steps=5)
    assert result.sample.device.type == "meta"


@pytest.mark.parametrize(
    "kwargs", [{"timesteps": []}, {"timesteps": [3, 3]}, {"timesteps": [51]}, {"timesteps": [2, 0]}]
)
def test_bad_timesteps_are_refused(kwargs):
    with pytest.raises(ConfigError, match="strictly descending"):
        DDIMSampler().sample(lambda x, t: x, DDPMScheduler(), torch.zeros(1, 3, 2, 2), **kwargs)


def test_timesteps_and_num_steps_exclude_each_other():
    with pytest.raises(ConfigError, match="not both"):
        DDIMSampler().sample(lambda x, t: x, DDPMScheduler(), torch.zeros(1, 3, 2, 2), timesteps=[3], num_steps=1)


def test_registry_and_eta_range():
    assert SAMPLERS.build(dict(type="DDIMSampler", eta=0.5)).eta == 0.5
    assert isinstance(SAMPLERS.build(dict(type="AncestralSampler")), AncestralSampler)
    with pytest.raises(ConfigError, match=r"eta=1\.5"):
        DDIMSampler(eta=1.5)


@pytest.mark.parametrize("sampler", [DDIMSampler(eta=1.0), AncestralSampler()])
def test_no_noise_is_drawn_in_the_last_step(sampler):
    generator = torch.Generator().manual_seed(0)
    state = generator.get_state()
    x = torch.ones(1, 3, 2, 2)
    sampler.sample(lambda x, t: x * 0.5, DDPMScheduler(), x, num_steps=1, generator=generator)
    assert torch.equal(generator.get_state(), state)
    sampler.sample(lambda x, t: x * 0.5, DDPMScheduler(), x, num_steps=2, generator=generator)
    assert not torch.equal(generator.get_state(), state)
