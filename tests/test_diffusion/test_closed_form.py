"""Every process with every sampler against the exact law of a correlated Gaussian, N(m, C) in 8 dimensions.

The mean and the covariance of the samples are computed without Monte-Carlo error (`dtir.testing.gaussian_law`): what is
left is the solver's own error, which must be small and fall at the solver's order. PredictorCorrectorSampler, whose
steps depend on the size of the noise, is not affine; `test_score_sde.py` has it with its Monte-Carlo error.
"""

import pytest
import torch

from dtir.diffusion import AncestralSampler, DDIMSampler, DDPMScheduler
from dtir.diffusion.samplers import (
    ColdSampler,
    DDBMSampler,
    DPMSolverPP2M,
    EulerMaruyamaSampler,
    FlowHeunSampler,
    HeunSampler,
    ImplicitSampler,
    PosteriorSampler,
    ProbabilityFlowSampler,
    ResidualSampler,
    ReverseODESampler,
    ReverseSDESampler,
    UniPCSampler,
)
from dtir.diffusion.schedulers import (
    DDBM,
    GOUB,
    I2SB,
    IRSDE,
    VESDE,
    VPSDE,
    ColdDiffusion,
    DenoisingSDE,
    EDMScheduler,
    EEDTPScheduler,
    InDI,
    RectifiedFlow,
    ResidualDiffusion,
    ResShift,
)
from dtir.testing.gaussian_law import GaussianPrior, bridge_law, law_errors, noise_law
from dtir.testing.sampling import sampling_cases

PRIOR = GaussianPrior()
TRUE = (PRIOR.mean, PRIOR.cov)
MU = torch.linspace(-0.4, 0.9, 8, dtype=torch.float64)
N = 8000
TO_NOISE = {
    "DDPMScheduler": DDPMScheduler(N, train_timesteps=N, beta_start=0.1 / N, beta_end=20 / N).double(),
    "VPSDE": VPSDE(N=N).double(),
    "VESDE": VESDE(sigma_min=0.01, sigma_max=5.0, N=N).double(),
    "EDMScheduler": EDMScheduler(N, sigma_max=5.0).double(),
}
# Sampler, order, and a bound of the error in 200 steps.
ANY_PROCESS = {
    "AncestralSampler": (AncestralSampler(), 1, 0.08),
    "DDIMSampler": (DDIMSampler(), 1, 0.04),
    "DDIMSampler, eta 0.5": (DDIMSampler(eta=0.5), 1, 0.05),
    "DDIMSampler, eta 1": (DDIMSampler(eta=1.0), 1, 0.08),
    "HeunSampler": (HeunSampler(), 2, 0.005),
    "DPMSolverPP2M": (DPMSolverPP2M(), 2, 0.002),
    "UniPCSampler": (UniPCSampler(), 2, 0.005),
}
OF_EQUATIONS = {
    "EulerMaruyamaSampler": (EulerMaruyamaSampler(), 1, 0.01),
    "ProbabilityFlowSampler": (ProbabilityFlowSampler(), 1, 0.1),
}
NOISE_CELLS = {
    (process, name): cell
    for process in TO_NOISE
    for name, cell in ({**ANY_PROCESS, **OF_EQUATIONS} if process.endswith("SDE") else ANY_PROCESS).items()
}
BRIDGE_CELLS = {
    ("IRSDE", "PosteriorSampler"): (lambda n: IRSDE(0.5, T=n, eps=0.005), PosteriorSampler(), 1, 0.06),
    ("IRSDE", "ReverseSDESampler"): (lambda n: IRSDE(0.5, T=n, eps=0.005), ReverseSDESampler(), 1, 0.02),
    ("IRSDE", "ReverseODESampler"): (lambda n: IRSDE(0.5, T=n, eps=0.005), ReverseODESampler(), 1, 0.05),
    ("IRSDE linear", "PosteriorSampler"): (lambda n: IRSDE(0.5, n, "linear", 0.005), PosteriorSampler(), 1, 0.06),
    ("IRSDE linear", "ReverseSDESampler"): (lambda n: IRSDE(0.5, n, "linear", 0.005), ReverseSDESampler(), 1, 0.02),
    ("IRSDE constant", "ReverseSDESampler"): (lambda n: IRSDE(0.5, n, "constant", 0.005), ReverseSDESampler(), 1, 0.05),
    ("IRSDE constant", "ReverseODESampler"): (lambda n: IRSDE(0.5, n, "constant", 0.005), ReverseODESampler(), 1, 0.1),
    ("GOUB", "PosteriorSampler"): (lambda n: GOUB(0.5, T=n, eps=0.005), PosteriorSampler(), 1, 0.05),
    ("GOUB", "ReverseSDESampler"): (lambda n: GOUB(0.5, T=n, eps=0.005), ReverseSDESampler(), 1, 0.02),
    ("DenoisingSDE", "PosteriorSampler"): (lambda n: DenoisingSDE(0.5, T=n), PosteriorSampler(), 1, 0.03),
    ("DenoisingSDE", "ReverseSDESampler"): (lambda n: DenoisingSDE(0.5, T=n), ReverseSDESampler(), 1, 0.02),
    ("DenoisingSDE", "ReverseODESampler"): (lambda n: DenoisingSDE(0.5, T=n), ReverseODESampler(), 1, 0.01),
    ("I2SB", "PosteriorSampler"): (lambda n: I2SB(interval=n, beta_max=4.0), PosteriorSampler(), 1, 0.05),
    ("DDBM", "PosteriorSampler"): (lambda n: DDBM("ve", n, sigma_max=2.0), PosteriorSampler(), 1, 0.04),
    ("DDBM vp", "PosteriorSampler"): (lambda n: DDBM("vp", n), PosteriorSampler(), 1, 0.05),
    # The flow is singular at the end, where all spread comes from: the smaller the noisy part, the slower it converges.
    ("DDBM", "DDBMSampler"): (lambda n: DDBM("ve", n, sigma_max=2.0), DDBMSampler(), 0.8, 0.05),
    ("DDBM vp", "DDBMSampler"): (lambda n: DDBM("vp", n), DDBMSampler(), 0.8, 0.05),
    ("DDBM", "DDBMSampler, churn 0.6"): (lambda n: DDBM("ve", n, sigma_max=2.0), DDBMSampler(0.6), 1, 0.02),
    ("DDBM vp", "DDBMSampler, churn 0.6"): (lambda n: DDBM("vp", n), DDBMSampler(0.6), 1, 0.02),
    ("IRSDE", "ImplicitSampler"): (lambda n: IRSDE(0.5, T=n, eps=0.005), ImplicitSampler(), 1, 0.05),
    ("GOUB", "ImplicitSampler"): (lambda n: GOUB(0.5, T=n, eps=0.005), ImplicitSampler(), 1, 0.05),
    ("DenoisingSDE", "ImplicitSampler"): (lambda n: DenoisingSDE(0.5, T=n), ImplicitSampler(), 1, 0.05),
    ("I2SB", "ImplicitSampler"): (lambda n: I2SB(interval=n, beta_max=4.0), ImplicitSampler(), 1, 0.05),
    ("DDBM", "ImplicitSampler"): (lambda n: DDBM("ve", n, sigma_max=2.0), ImplicitSampler(), 1, 0.05),
    ("DDBM vp", "ImplicitSampler"): (lambda n: DDBM("vp", n), ImplicitSampler(), 1, 0.08),
    ("ResShift", "ImplicitSampler"): (lambda n: ResShift(n, 0.02, kappa=1.0), ImplicitSampler(), 1, 0.05),
    ("ResShift", "PosteriorSampler"): (lambda n: ResShift(n, 0.02, kappa=1.0), PosteriorSampler(), 1, 0.04),
    ("InDI", "PosteriorSampler"): (lambda n: InDI(n, noise=0.5), PosteriorSampler(), 1, 0.02),
    ("RectifiedFlow", "PosteriorSampler"): (lambda n: RectifiedFlow(n, noise=0.5), PosteriorSampler(), 1, 0.02),
    ("RectifiedFlow", "FlowHeunSampler"): (lambda n: RectifiedFlow(n, noise=0.5), FlowHeunSampler(), 2, 0.001),
}
# Those that do not draw from the prior, with what they give in its place below; and the one with a test elsewhere.
OTHERWISE = {
    "GOUB-ReverseODESampler",
    "ResidualDiffusion-ResidualSampler",
    "ResidualDiffusion-PosteriorSampler",
    "InDI-ColdSampler",
} | {
    "ColdDiffusion-ColdSampler",
    "ResShift-ConsistencySampler",
    "VPSDE-PredictorCorrectorSampler",
    "VESDE-PredictorCorrectorSampler",
}
# Its levels are so uneven in time that steps are spaced by them, below.
OTHERWISE |= {f"EEDTPScheduler-{sampler}" for sampler in ANY_PROCESS}


def noise_error(process: str, sampler, steps: list[int]) -> float:
    scheduler = TO_NOISE[process]
    a, sigma = (value.item() for value in scheduler.marginal(0))
    found = noise_law(sampler, scheduler, steps, PRIOR)
    return max(law_errors(found, (a * PRIOR.mean, PRIOR.of_state(a, sigma))))


def even_in_a_root_of_rho(process: str, n: int) -> list[int]:
    """Steps of the spacing of Karras et al. (2022), as near as the grid of N has them, from T to 1."""
    a, sigma = (value.flatten() for value in TO_NOISE[process].marginal(torch.arange(N + 1)))
    roots = (sigma / a) ** (1 / 7)
    wanted = torch.linspace(roots[-1].item(), roots[1].item(), n, dtype=torch.float64)
    return sorted(set(torch.searchsorted(roots, wanted).clamp(1, N).tolist()), reverse=True)


def falls(coarse: float, fine: float, order: float) -> bool:
    return fine < max(coarse / 2 ** (order - 0.35), 1e-3)


@pytest.mark.parametrize("cell", NOISE_CELLS, ids="-".join)
def test_processes_to_noise(cell):
    process, (sampler, order, bound) = cell[0], NOISE_CELLS[cell]
    scheduler = TO_NOISE[process]
    coarse, fine = (noise_error(process, sampler, scheduler.sample_steps(n)) for n in (100, 200))
    assert fine < bound
    # With steps even in time the last one keeps Heun's error of VP, where sigma grows like a root, from order 2.
    rough = process in ("DDPMScheduler", "VPSDE") and order == 2
    assert falls(coarse, fine, 1 if rough else order), (coarse, fine)


@pytest.mark.parametrize("process", TO_NOISE)
def test_heun_is_of_second_order_on_every_process_where_its_steps_fit(process):
    few, many = (noise_error(process, HeunSampler(), even_in_a_root_of_rho(process, n)) for n in (40, 80))
    assert many < 0.01
    assert falls(few, many, 2), (few, many)


@pytest.mark.parametrize("name", ANY_PROCESS)
def test_the_released_levels_of_noise(name):
    # The released end, 10 levels of 255, is too low for a start from noise alone.
    scheduler = EEDTPScheduler(N, max_sigma=640.0).double()
    steps = scheduler.sample_steps(200, "karras")
    assert max(law_errors(noise_law(ANY_PROCESS[name][0], scheduler, steps, PRIOR), TRUE)) < 0.06


@pytest.mark.parametrize(("order", "corrector"), [(1, False), (1, True), (2, False), (2, True), (3, False), (3, True)])
@pytest.mark.parametrize("process", ["VPSDE", "VESDE"])
def test_unipc_is_of_its_order_and_of_one_more_with_the_corrector(process, order, corrector):
    sampler = UniPCSampler(order, corrector)
    few, many = (noise_error(process, sampler, even_in_a_root_of_rho(process, n)) for n in (20, 40))
    assert many < few / 2 ** (order + corrector - 0.5)
    assert many < (0.2, 0.08, 0.02, 0.01)[order + corrector - 1]


@pytest.mark.parametrize("churn", [2.0, 40.0])
def test_churn_draws_from_the_same_law(churn):
    """Noise that is added and taken away again: an error of second order, as without it."""
    coarse, fine = (
        max(law_errors(noise_law(HeunSampler(churn), process, process.sample_steps(n), PRIOR), TRUE))
        for n, process in ((n, EDMScheduler(n, sigma_max=5.0).double()) for n in (20, 40))
    )
    assert fine < 0.05
    assert fine < coarse / 2


@pytest.mark.parametrize("cell", BRIDGE_CELLS, ids="-".join)
def test_processes_from_the_degraded_picture(cell):
    make, sampler, order, bound = BRIDGE_CELLS[cell]
    coarse, fine = (max(law_errors(bridge_law(sampler, make(n).double(), MU, PRIOR), TRUE)) for n in (100, 200))
    assert fine < bound
    assert falls(coarse, fine, order), (coarse, fine)


def test_posterior_of_diffuirs_process():
    """Its betas are those of 1000 steps, so that fewer steps are taken of the same process."""
    coarse, fine = (
        max(law_errors(bridge_law(PosteriorSampler(), ResidualDiffusion().double(), MU, PRIOR, n), TRUE))
        for n in (100, 200)
    )
    assert fine < 0.1
    assert falls(coarse, fine, 1), (coarse, fine)


@pytest.mark.parametrize(
    ("make", "sampler"),
    [
        (lambda n: GOUB(0.5, T=n, eps=0.005), ReverseODESampler()),
        (lambda n: I2SB(interval=n, beta_max=4.0, ot_ode=True), PosteriorSampler()),
        (lambda n: I2SB(interval=n, beta_max=4.0), PosteriorSampler(noise=False)),
    ],
)
def test_equations_of_the_mean_give_the_mean_and_no_spread(make, sampler):
    """GOUB's mean ODE and I2SB's OT-ODE: what they lead to is one picture, the mean of the posterior."""
    coarse, fine = (law_errors(bridge_law(sampler, make(n).double(), MU, PRIOR), TRUE) for n in (100, 200))
    assert fine[0] < 0.05
    assert falls(coarse[0], fine[0], 1)
    assert fine[1] == pytest.approx(1, abs=1e-3)


def test_ddbms_sampler_without_noise_has_no_spread():
    """Nothing is random from the degraded picture on, which is why the published sampler has its noisy part."""
    coarse, fine = (
        law_errors(bridge_law(DDBMSampler(0.0), DDBM("ve", n, sigma_max=2.0).double(), MU, PRIOR), TRUE)
        for n in (50, 200)
    )
    assert fine[0] < 0.6 * coarse[0]
    assert fine[1] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("n", [1, 3, 20])
def test_cold_diffusion_gives_the_posterior_mean_in_any_number_of_steps(n):
    mean, cov = bridge_law(ColdSampler(), ColdDiffusion(n).double(), MU, PRIOR)
    torch.testing.assert_close(mean, PRIOR.mean)
    assert cov.abs().max() < 1e-12


@pytest.mark.parametrize(("process", "sampler"), [(InDI(20, noise=0.5), ColdSampler())])
def test_cold_steps_leave_the_noise_that_is_there(process, sampler):
    """Algorithm 2 has no noise: from a noisy start the mean is right, the spread is not the prior's."""
    found = law_errors(bridge_law(sampler, process.double(), MU, PRIOR), TRUE)
    assert found[0] < 1e-9
    assert found[1] > 1


@pytest.mark.parametrize("n", [3, 50])
def test_diffuirs_sampler_has_the_right_mean_but_keeps_too_much_noise(n):
    """It takes back the residual alone, so that the network sees states with more noise than they should have."""
    process = ResidualDiffusion().double()
    process.parts = lambda x, out, mu, t, clip: (mu - out, out)
    found = law_errors(bridge_law(ResidualSampler(clip=None), process, MU, PRIOR, n), TRUE)
    assert found[0] < 1e-9
    assert found[1] > 0.1


def test_diffuirs_sampler_is_exact_for_an_exact_residual():
    process = ResidualDiffusion().double()
    x0, mu, eps = 0.5 * torch.randn(3, 2, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for n in (1, 3, 10):
        run = ResidualSampler(clip=None).sample(
            lambda x, t: mu - x0, process, mu, x_start=process.start(mu, eps), num_steps=n, return_trajectory=True
        )
        torch.testing.assert_close(run.sample, x0)
        # The means of the states are the marginal's; the noise is that of the start in all of them.
        for state, t in zip(run.trajectory[1:-1], process.sample_steps(n)[1:], strict=True):
            a, b, _ = process.marginal(t)
            a_T, b_T, _ = process.marginal(1000)
            start = (1 - process.delta_cumsum[-1]) * mu + 0.1 * eps - a_T * x0 - b_T * mu
            torch.testing.assert_close(state, a * x0 + b * mu + start)


def test_ddim_tends_to_the_probability_flow():
    """The law of the flow from the exact state at T is the prior's at every step, so both end in it."""
    scheduler = TO_NOISE["VPSDE"]
    gaps = []
    for n in (100, 200, 400):
        steps = scheduler.sample_steps(n)
        ddim, euler = (
            noise_law(sampler, scheduler, steps, PRIOR)[1] for sampler in (DDIMSampler(), ProbabilityFlowSampler())
        )
        gaps.append((ddim - euler).abs().max().item())
    assert gaps[2] < 0.6 * gaps[1] < 0.36 * gaps[0]


def test_every_cell_of_the_table_is_here():
    covered = {"-".join(cell) for cell in (*NOISE_CELLS, *BRIDGE_CELLS)} | OTHERWISE
    cells = {
        f"{case.process}-{case.sampler}"
        for case in sampling_cases(20)
        if not case.sampler.count(", ") or "eta" in case.sampler
    }
    assert cells <= covered
