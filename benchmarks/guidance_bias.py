"""How far guided samples of a correlated Gaussian are from its exact posterior.

    python -m benchmarks.guidance_bias

Writes a table in Markdown: the largest error of the mean, and of the covariance, over the prior's spread. Both are
computed without Monte-Carlo error (dtir.testing.gaussian_law); DPS and MCG, whose steps are not affine, are left out.
"""

import argparse
import sys
from collections.abc import Callable
from typing import NamedTuple

import torch

from dtir.cli import exit_code
from dtir.cli.numbers import positive_int
from dtir.diffusion.guidance import DDNM, DDRM, ILVR, PiGDM, RePaint
from dtir.diffusion.guidance.base import GuidedSampler
from dtir.diffusion.operators import AverageDownsampling, Inpainting, SpectralOperator, WalshHadamard
from dtir.diffusion.schedulers import VPSDE
from dtir.testing.gaussian_law import GaussianPrior, law_errors, noise_law, operator_matrix

SHAPE = (1, 4, 4)
MASK = torch.tensor([[1, 0, 1, 1], [0, 1, 0, 1], [1, 1, 0, 0], [1, 0, 1, 1]], dtype=torch.float64)
OPERATORS = {
    "inpainting": Inpainting(MASK),
    "average x2": AverageDownsampling(2),
    "sensing": WalshHadamard(4, 4, 0.5),
}
# Of the noise in y where a guidance knows of it.
SIGMA_Y = 0.3


class Row(NamedTuple):
    """A guidance as the table has it.

    Attributes:
        name: What the table calls it.
        make: `(operator, y) -> guidance`.
        sigma_y: Noise of its measurements.
        draws: The most noise that a step draws.
    """

    name: str
    make: Callable[[SpectralOperator, torch.Tensor], GuidedSampler]
    sigma_y: float
    draws: int


ROWS = (
    Row("DDNM, eta 0", lambda operator, y: DDNM(operator, y, eta=0.0), 0.0, 1),
    Row("DDNM", DDNM, 0.0, 1),
    Row("DDRM, eta 0", lambda operator, y: DDRM(operator, y, eta=0.0), 0.0, 1),
    Row("DDRM", DDRM, 0.0, 1),
    Row("ILVR", ILVR, 0.0, 2),
    Row("RePaint, 1 resampling", lambda operator, y: RePaint(operator, y, 1), 0.0, 2),
    Row("RePaint, 3 resamplings", lambda operator, y: RePaint(operator, y, 3), 0.0, 8),
    Row("PiGDM", lambda operator, y: PiGDM(operator, y, SIGMA_Y, spread=0.57), SIGMA_Y, 1),
    Row("DDNM+", lambda operator, y: DDNM(operator, y, SIGMA_Y), SIGMA_Y, 1),
    Row("DDRM, noisy", lambda operator, y: DDRM(operator, y, SIGMA_Y), SIGMA_Y, 1),
)


def bias(row: Row, operator: SpectralOperator, steps: int) -> tuple[float, float]:
    """Errors of mean and covariance over the prior's spread, for the measurements of one picture of the prior."""
    prior, scheduler = GaussianPrior(SHAPE), VPSDE(N=4000).double()
    noise = torch.randn(len(prior.mean), generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    y = operator.A(prior.picture(prior.mean + torch.linalg.cholesky(prior.cov) @ noise))
    found = noise_law(row.make(operator, y), scheduler, scheduler.sample_steps(steps), prior, row.draws)
    true = prior.posterior(operator_matrix(operator, SHAPE), y.flatten(), row.sigma_y)
    return law_errors(found, true, prior.cov.diagonal().sqrt())


def main() -> None:
    """Writes the table to standard output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=positive_int, default=100, help="steps of the sampling (default: 100)")
    steps = parser.parse_args().steps
    print(f"| guidance, {steps} steps | {' | '.join(OPERATORS)} |\n|---|{'---|' * len(OPERATORS)}")
    for row in ROWS:
        cells = (
            "" if "RePaint" in row.name and name != "inpainting" else "{:.2f}, {:.2f}".format(*bias(row, op, steps))
            for name, op in OPERATORS.items()
        )
        print(f"| {row.name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    sys.exit(exit_code(main))
