"""Schedules, single steps and trajectories of the published bridges, on the noise that they drew."""

import json

import numpy as np
import pytest
import torch

from dtir.diffusion.samplers import PosteriorSampler, ResidualSampler, ReverseODESampler, ReverseSDESampler
from dtir.diffusion.schedulers import GOUB, I2SB, IRSDE, DenoisingSDE, ResidualDiffusion, ResShift


class Case:
    """A fixture: `case["name"]` is a tensor, `case.kwargs` the published constructor arguments."""

    def __init__(self, folder, name):
        with np.load(folder / f"sampler_{name}.npz") as arrays:
            self.arrays = {key: torch.from_numpy(value) for key, value in arrays.items() if value.dtype.kind == "f"}
            self.integers = {key: value for key, value in arrays.items() if value.dtype.kind == "i"}
            self.kwargs = json.loads(str(arrays["meta"]))["kwargs"]

    def __getitem__(self, name):
        return self.arrays[name]

    def close(self, found, name, rtol=1e-5):
        expected = self[name].float()
        found = found.reshape(expected.shape).float()
        assert (found - expected).abs().max() <= rtol * expected.abs().max(), name


@pytest.fixture
def tape(monkeypatch):
    """Makes all drawn noise come from a tape; answers how much of it was used."""
    used = []

    def set_tape(noise):
        rows = iter(noise)
        used.clear()

        def draw(shape, **options):
            row = next(rows).reshape(shape)
            used.append(row)
            return row

        monkeypatch.setattr(torch, "randn", draw)
        return used

    return set_tape


def mean_reverting_network(case, T):
    return lambda x, t: 0.3 * torch.sin(3 * x) + 0.2 * (x - case["mu"]) + 0.05 * t.view(-1, 1, 1, 1) / T


def well_conditioned_network(case, bridge):
    """The noise that goes with a given guess of x_0; 0 where there is none."""

    def network(x, t):
        guess = 0.5 * case["x0"] + 0.3 * torch.sin(3 * x)
        eps = bridge.eps_from_x0(x, guess, case["mu"], t.long())
        return torch.where(bridge.marginal(t.long())[2] == 0, 0, eps)

    return network


IRSDE_CASES = ["irsde_constant30", "irsde_cosine10", "irsde_cosine50"]


@pytest.mark.parametrize("name", IRSDE_CASES)
def test_irsde_schedule_and_single_steps(name, parity_dir):
    case = Case(parity_dir, name)
    sde = IRSDE(**case.kwargs)
    for array in ("thetas", "sigmas", "thetas_cumsum", "sigma_bars"):
        case.close(getattr(sde, array), array, rtol=1e-6)
    assert sde.dt == pytest.approx(case["dt"].item(), rel=1e-6)
    assert sde.max_sigma == pytest.approx(case["max_sigma"].item())
    x0, mu, xt = case["x0"], case["mu"], case["xt"]
    zero = torch.zeros_like(x0)
    steps = [int(t) for t in case.integers["ts"]]
    case.close(torch.stack([sde.add_noise(x0, mu, zero, t) for t in steps]), "y_mu_bar")
    case.close(torch.stack([sde.posterior(xt, x0, mu, t, t - 1)[0] for t in steps]), "y_optimum")
    case.close(torch.stack([sde.eps_from_x0(xt, x0, mu, t) for t in steps]), "y_real_noise")
    scores = [sde.score_from_eps(sde.eps_from_x0(xt, x0, mu, t), t) for t in steps]
    case.close(torch.stack(scores), "y_real_score")
    deviations = torch.stack([sde.posterior(xt, x0, mu, t, t - 1)[1].sqrt().squeeze() for t in range(1, 101)])
    case.close(deviations, "y_optimum_std")


@pytest.mark.parametrize("kind", ["reverse_sde", "reverse_posterior", "reverse_ode"])
@pytest.mark.parametrize("name", IRSDE_CASES)
def test_irsde_trajectories(name, kind, parity_dir, tape):
    case = Case(parity_dir, name)
    sde = IRSDE(**case.kwargs)
    kinds = {"reverse_sde": ReverseSDESampler, "reverse_posterior": PosteriorSampler, "reverse_ode": ReverseODESampler}
    for prefix, network in (("y", mean_reverting_network(case, 100)), ("yB", well_conditioned_network(case, sde))):
        used = tape(case["noise"])
        result = kinds[kind]().sample(network, sde, case["mu"])
        assert result.num_evals == 100
        assert len(used) == {"reverse_sde": 101, "reverse_posterior": 100, "reverse_ode": 1}[kind]
        case.close(result.sample, f"{prefix}_{kind}")


@pytest.mark.parametrize("kind", ["reverse_sde", "reverse_posterior"])
def test_daclip_samples_fewer_steps_than_its_network_knows(kind, parity_dir, tape):
    case = Case(parity_dir, "daclip_irsde_T25")
    sde = IRSDE(**case.kwargs)
    assert sde.num_timesteps == 25
    case.close(sde.sigma_bars, "sigma_bars", rtol=1e-6)
    tape(case["noise"])
    sampler = ReverseSDESampler() if kind == "reverse_sde" else PosteriorSampler()
    result = sampler.sample(mean_reverting_network(case, 100), sde, case["mu"], x_start=case["x_T"])
    case.close(result.sample, f"y_{kind}")


def test_denoising_sde(parity_dir, tape):
    case = Case(parity_dir, "denoisingsde")
    sde = DenoisingSDE(**case.kwargs)
    case.close(sde.sigma_bars, "sigma_bars", rtol=1e-6)
    found = [sde.optimal_timestep(sigma) for sigma in (15, 25, 50)]
    assert found == case.integers["y_opt_t"].tolist()

    def network(x, t):
        return 0.3 * torch.sin(3 * x) + 0.05 * t.view(-1, 1, 1, 1) / 100

    for kind, sampler in (("reverse_ode", ReverseODESampler()), ("reverse_sde", ReverseSDESampler())):
        tape(case["noise"])
        result = sampler.sample(network, sde, case["xt"], x_start=case["xt"], timesteps=list(range(found[1], 0, -1)))
        case.close(result.sample, f"y_{kind}")


def test_goub(parity_dir, tape):
    case = Case(parity_dir, "goub")
    sde = GOUB(**case.kwargs)
    for array in ("thetas", "sigmas", "thetas_cumsum", "sigma_bars", "sigma_t_T", "f_sigmas"):
        case.close(getattr(sde, array), array, rtol=1e-6)
    x0, mu, xt = case["x0"], case["mu"], case["xt"]
    steps = [int(t) for t in case.integers["ts"]]
    case.close(torch.stack([sde.add_noise(x0, mu, 0 * x0, t) for t in steps]), "y_f_mean")
    case.close(torch.stack([sde.posterior(xt, x0, mu, t, t - 1)[0] for t in steps]), "y_optimum")
    for kind, sampler in (("reverse_sde", ReverseSDESampler()), ("reverse_mean_ode", ReverseODESampler())):
        for prefix, network in (("y", mean_reverting_network(case, 100)), ("yB", well_conditioned_network(case, sde))):
            tape(case["noise"])
            result = sampler.sample(network, sde, mu)
            case.close(result.sample, f"{prefix}_{kind}")


def test_i2sb(parity_dir, tape):
    case = Case(parity_dir, "i2sb")
    steps = case.kwargs.pop("steps")
    sb = I2SB(**case.kwargs, predicts="x0")
    for array in ("betas", "std_fwd", "std_bwd", "std_sb", "mu_x0", "mu_x1"):
        case.close(getattr(sb, array), array, rtol=1e-6)

    def network(x, t):
        return 0.5 * x + 0.1 * torch.sin(3 * x) + 0.1 * t.view(-1, 1, 1, 1) / 1000

    for noise, name in ((True, "y_traj"), (False, "y_traj_ot")):
        tape(case["noise"])
        result = PosteriorSampler(noise=noise).sample(
            network, sb, case["x1"], timesteps=steps[:0:-1], return_trajectory=True
        )
        case.close(torch.stack(result.trajectory[:0:-1], 1), name)


@pytest.mark.parametrize("name", ["resshift_4", "resshift_15"])
def test_resshift(name, parity_dir, tape):
    case = Case(parity_dir, name)
    offered = ("steps", "min_noise_level", "etas_end", "kappa", "schedule_name", "schedule_kwargs", "predict_type")
    options = {key: case.kwargs[key] for key in (*offered, "normalize_input", "latent_flag")}
    shift = ResShift(**options)
    case.close(shift.etas[1:], "etas", rtol=1e-6)
    x0, lq, noise = case["x0"], case["y_lq"], case["q_noise"]
    every = range(1, shift.num_timesteps + 1)
    case.close(torch.stack([shift.add_noise(x0, lq, noise, t) for t in every]), "y_qsample")
    variances = torch.stack([shift.posterior(x0, x0, lq, t, t - 1)[1].squeeze() for t in every])
    case.close(variances, "posterior_variance")
    scaled = torch.stack([shift.network_input(x0, t)[0] for t in every])
    case.close(scaled, "y_scale_input")

    def network(x, t):
        return 0.5 * x + 0.1 * torch.sin(3 * x) + 0.1 * t.view(-1, 1, 1, 1) / 15

    tape(case["noise"])
    result = PosteriorSampler(clip=(-1, 1)).sample(network, shift, lq, return_trajectory=True)
    case.close(torch.stack(result.trajectory), "y_traj")


def test_diffuir(parity_dir, tape):
    case = Case(parity_dir, "diffuir_t3")
    options = {key: case.kwargs[key] for key in ("timesteps", "delta_end", "sum_scale", "objective")}
    process = ResidualDiffusion(**options)
    for array in ("alphas_cumsum", "betas_cumsum", "delta_cumsum"):
        case.close(getattr(process, array)[1:], f"init_{array}", rtol=1e-6)
    x_input = 2 * case["x_input"] - 1

    def network(x, t):
        return 0.3 * torch.sin(3 * x) + 0.2 * (x_input - x) + 0.05 * t.view(-1, 1, 1, 1) / 1000

    tape(case["noise"])
    result = ResidualSampler(eta=case.kwargs["ddim_sampling_eta"]).sample(
        network, process, x_input, num_steps=case.kwargs["sampling_timesteps"], return_trajectory=True
    )
    case.close((torch.stack(result.trajectory) + 1) / 2, "y_list")
    case.close((result.sample + 1) / 2, "y_final")
