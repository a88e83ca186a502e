"""What schedulers, samplers and guidance cost beside the network.

    python tools/analysis/benchmark_sampling.py [--size 256] [--threads 2] [--device cpu] [--only DDNM]

Runs every forward process with each of its samplers, and every guidance, with a network that costs nothing. The table
has the milliseconds per evaluation of the network, and their share of one evaluation of NAFNet of width 32 with time
conditioning on a picture of the same size, measured in turn with them; of several rounds the fastest counts. Shares
above the aim are red.
"""

import argparse
import sys
from collections.abc import Callable

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from dtir.cli.numbers import positive_int
from dtir.core.errors import DtirError
from dtir.measure.timing import seconds_of
from dtir.registry import CONDITIONING
from dtir.testing.sampling import SamplingCase, sampling_cases

AIM = 0.02
NAFNET = {
    "type": "TimeConditioning",
    "backbone": {
        "type": "NAFNet",
        "width": 32,
        "enc_blk_nums": [2, 2, 4, 8],
        "middle_blk_num": 12,
        "dec_blk_nums": [2, 2, 2, 2],
    },
}


def evaluation(device: str, size: int) -> Callable[[], object]:
    """One evaluation of the network."""
    network = CONDITIONING.build(NAFNET).to(device).eval()
    x, t = torch.rand(1, 3, size, size, device=device), torch.full((1,), 10, device=device)

    @torch.no_grad()
    def call() -> object:
        return network(x, t)

    return call


def milliseconds(case: SamplingCase, network: Callable[[], object], args: argparse.Namespace) -> tuple[float, float]:
    """Milliseconds of the arithmetic per evaluation, and of the network."""
    run = case.prepare(args.device, args.size, args.size)
    evaluations = run(args.steps).num_evals
    rounds = [(seconds_of(lambda: run(args.steps)), seconds_of(network)) for _ in range(args.rounds + 1)]
    # The fastest: whatever else the machine does only ever slows it down.
    steps, whole = map(min, zip(*rounds[1:], strict=True))
    return 1e3 * steps / evaluations, 1e3 * whole


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=positive_int, default=256, help="height and width, a power of 2")
    parser.add_argument("--steps", type=positive_int, default=10, help="steps per run")
    parser.add_argument("--rounds", type=positive_int, default=3, help="timed rounds after one that does not count")
    parser.add_argument("--threads", type=positive_int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", default="", metavar="TEXT", help="combinations whose names hold it")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    console = Console(width=None if sys.stdout.isatty() else 120)
    table = Table(title=f"beside NAFNet-32 at {args.size} x {args.size}, {args.device}, {args.threads} threads")
    for index, column in enumerate(("process", "sampler or guidance", "ms per evaluation", "network ms", "share")):
        table.add_column(column, justify="left" if index < 2 else "right")
    cases = [case for case in sampling_cases() if args.only in f"{case.process} {case.sampler}"]
    try:
        network = evaluation(args.device, args.size)
        for case in track(cases, "measuring", transient=True, console=Console(stderr=True)):
            own, whole = milliseconds(case, network, args)
            colour = "red" if own / whole > AIM else "green"
            cells = (f"{own:.2f}", f"{whole:.0f}", f"[{colour}]{own / whole:.2%}[/]")
            table.add_row(case.process, case.sampler, *cells)
    except DtirError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False)
        return 1
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
