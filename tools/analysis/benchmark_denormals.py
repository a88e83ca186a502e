"""What numbers below 1.2e-38 cost a CPU in the training of a network, and whether it has any.

    python tools/analysis/benchmark_denormals.py CKPT [CKPT ...]

Times forward and backward passes of a checkpoint's network on noise, where such numbers are kept and where they count
as zero (as in trainings here), in turn, on one thread.
"""

import argparse
import sys
from collections.abc import Callable

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from dtir.apis.models.build import load_restorer
from dtir.cli import exit_code
from dtir.cli.importing import add_import_argument
from dtir.cli.numbers import positive_int
from dtir.core.errors import CheckpointError, ConfigError
from dtir.measure.timing import alternate
from dtir.models.restorers import DiffusionRestorer


def passes(model: DiffusionRestorer, batch: Tensor, flushed: bool) -> Callable[[], None]:
    """A function that goes forward and backward, with denormal numbers flushed or kept, and leaves them kept."""
    parameters = [parameter for parameter in model.network.parameters() if parameter.requires_grad]
    t = torch.arange(len(batch)) % model.num_timesteps

    def step() -> None:
        torch.set_flush_denormal(flushed)
        error = (model.network(batch, t) - batch).square().mean().log()
        torch.autograd.grad(error, parameters, allow_unused=True)
        torch.set_flush_denormal(False)

    return step


def main(argv: list[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "checkpoints", nargs="+", metavar="CKPT", help="of a DiffusionRestorer, such as those of configs/dtir"
    )
    parser.add_argument("--side", type=positive_int, default=64, help="of the patches (default: 64)")
    parser.add_argument("--batch", type=positive_int, default=8, help="patches of a step (default: 8)")
    parser.add_argument("--steps", type=positive_int, default=10, help="measured steps of each kind")
    add_import_argument(parser)
    args = parser.parse_args(argv)
    if not torch.set_flush_denormal(False):
        raise ConfigError("this CPU cannot count denormal numbers as zero, so there is nothing to measure.")
    torch.set_num_threads(1)
    table = Table("checkpoint", "ms, kept", "ms, flushed", "ratio")
    for checkpoint in args.checkpoints:
        model = load_restorer(checkpoint).train()
        if not isinstance(model, DiffusionRestorer):
            raise CheckpointError(
                f"'{checkpoint}' is of a {type(model).__name__}; only a DiffusionRestorer is timed here."
            )
        batch = torch.rand(args.batch, 3, args.side, args.side, generator=torch.Generator().manual_seed(0))
        batch = batch.contiguous(memory_format=model.data_preprocessor.memory_format)
        kinds = {"kept": passes(model, batch, flushed=False), "flushed": passes(model, batch, flushed=True)}
        seconds = alternate(kinds, args.steps)
        ratio = seconds["kept"] / seconds["flushed"]
        table.add_row(checkpoint, *(f"{1e3 * value:.1f}" for value in seconds.values()), f"{ratio:.2f}")
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
