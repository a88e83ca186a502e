"""Restores with every training-free guidance and a prior that is known exactly, and tabulates.

    python -m benchmarks.guidance_exact_prior
    python -m benchmarks.guidance_exact_prior --only dps --sides 32 64 128

The pictures are drawn from a Gaussian with the power spectrum of photographs (dtir.testing.stationary_prior), whose
best denoiser is known: no network is trained, and what is lost is the guidance's own. One sample stands beside the mean
of some, and beside the pseudo-inverse, or the measurements where there is none.
"""

import argparse
import sys
from pathlib import Path

import torch
from rich.progress import track
from torch import Tensor
from typing_extensions import override

from benchmarks.guided import CONFIGS
from benchmarks.lab import markdown
from dtir.apis import GuidedRestorer
from dtir.apis.guided.restorer import guided_settings
from dtir.cli import exit_code
from dtir.cli.numbers import positive_int
from dtir.diffusion.domain import IMAGE_SCALE, to_centred
from dtir.models import DiffusionRestorer
from dtir.testing.stationary_prior import StationaryPrior


class ExactRestorer(DiffusionRestorer):
    """The exact denoiser of pictures of a prior in place of a network's.

    Args:
        prior: Prior of centred pictures.
    """

    def __init__(self, prior: StationaryPrior) -> None:
        backbone = {"type": "NAFNet", "width": 2, "enc_blk_nums": [1], "middle_blk_num": 1, "dec_blk_nums": [1]}
        super().__init__({"type": "TimeConditioning", "backbone": backbone}, ["noisy"])
        self.denoiser = prior.denoiser(self.scheduler)

    @override
    def predict_eps(self, x: Tensor, t: Tensor) -> Tensor:
        return self.denoiser(to_centred(x), t)


def quality(found: Tensor, x: Tensor) -> float:
    """Mean PSNR of centred pictures, clipped."""
    error = (IMAGE_SCALE * (found.clamp(-1, 1) - x)).square().mean((1, 2, 3))
    return (-10 * error.log10()).mean().item()


def row(config: Path, side: int, pictures: int, samples: int) -> list[str]:
    """PSNR of the pseudo-inverse, one sample and the mean."""
    prior = StationaryPrior(side, side)
    x = prior.draw(pictures).clamp(-1, 1).float()
    settings = guided_settings(config)
    restorer = GuidedRestorer(ExactRestorer(prior), **settings, device="cpu")
    operator = restorer.operator(side, side)
    y = restorer.measure(x)
    simple = operator.A_pinv(y) if hasattr(operator, "A_pinv") else y
    found = restorer.restore_mean(y, samples, (side, side))
    values = (quality(simple, x), quality(found.one, x), quality(found.mean, x))
    return [config.stem, settings["operator_cfg"]["type"], str(side), *(f"{value:.2f}" for value in values)]


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--sides", type=positive_int, nargs="+", default=[64], help="sides of the pictures (default: 64)"
    )
    parser.add_argument("--pictures", type=positive_int, default=4, help="pictures of the prior (default: 4)")
    parser.add_argument("--samples", type=positive_int, default=8, help="samples of the mean (default: 8)")
    parser.add_argument("--only", default="", metavar="WORD", help="only configs with this in their name")
    args = parser.parse_args()
    torch.manual_seed(0)
    header = ["config", "operator", "side", "before", "one sample", f"mean of {args.samples}"]
    cases = [(config, side) for config in CONFIGS if args.only in config.stem for side in args.sides]
    rows = [row(*case, args.pictures, args.samples) for case in track(cases, "guidance")]
    print(markdown(header, rows))
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
