"""Parameters, multiply-accumulates, peak memory and time of networks, beside the published figures.

    python tools/analysis/get_flops.py                                    # every published setting
    python tools/analysis/get_flops.py restormer nafnet_gopro_w64 --size 512 --no-run
    python tools/analysis/get_flops.py configs/dtir/nafnet_10task.py      # a config with its conditioning
    python tools/analysis/get_flops.py nafnet_gopro_w64 nafnet_gopro_w64+method   # with time conditioning and adapters

Memory is what one forward pass of one picture, without gradients, adds to the resident memory of a process of its own
(on a GPU: to the allocated memory); the weights are not in it.
"""

import argparse
import statistics
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import torch
from mmengine.registry import DefaultScope
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from dtir.models import ConditionedNetwork
from dtir.models.backbones.pictures import restored_picture
from dtir.models.backbones.zoo import ZOO, Published
from dtir.registry import BACKBONES, RESTORERS, SCOPE
from dtir.utils.complexity import count_macs, count_parameters
from dtir.utils.errors import ConfigError, DtirError
from dtir.utils.launch import load_config
from dtir.utils.memory import in_new_process, peak_bytes
from dtir.utils.timing import seconds_of

WITH_METHOD = "+method"
COLUMNS = ("network", "params / M", "published", "GMACs", "published", "peak MiB", "seconds", "figures from")


class Cost(NamedTuple):
    """Figures of one network; memory and time are None where it was not run."""

    name: str
    params: int
    macs: int
    mebibytes: float | None
    seconds: float | None

    def row(self, published: Published | None, size: int) -> tuple[str, ...]:
        """Cells of the table."""
        stated = published if published and published.size == size else None
        return (
            self.name,
            f"{self.params / 1e6:.3f}",
            _cell(published and published.params_m),
            f"{self.macs / 1e9:.2f}",
            _cell(stated and stated.gflops),
            "-" if self.mebibytes is None else f"{self.mebibytes:.0f}",
            "-" if self.seconds is None else f"{self.seconds:.3f}",
            published.source if published else "-",
        )


def _cell(value: float | None) -> str:
    return "-" if value is None else f"{value:g}"


def build(name: str) -> tuple[nn.Module, Callable[[Tensor], Tensor]]:
    """A network and how it restores a picture, by the name of a published setting, a class, or a config file.

    A name that ends with `+method` is the network with time conditioning and adapters.

    Raises:
        ConfigError: The name is none of these.
    """
    if name.endswith(".py"):
        with DefaultScope.overwrite_default_scope(SCOPE):
            model = RESTORERS.build(load_config(name).model)
        return model, lambda x: model.restore(x, torch.zeros(len(x), dtype=torch.long, device=x.device))
    if name.endswith(WITH_METHOD):
        network, _ = build(name.removesuffix(WITH_METHOD))
        conditioned = ConditionedNetwork(network, adapter={"type": "ParallelMoEAdapter"})
        return conditioned, lambda x: conditioned(x, torch.zeros(len(x), dtype=torch.long, device=x.device))
    if name not in ZOO and name not in BACKBONES.module_dict:
        raise ConfigError(f"'{name}' is neither a published setting, a registered backbone, nor a config file (.py).")
    network = BACKBONES.build(ZOO[name].backbone if name in ZOO else {"type": name})
    return network, lambda x: restored_picture(network, x)


def count(name: str, size: int) -> tuple[int, int]:
    """Parameters, and multiply-accumulates for one picture of `size` x `size`."""
    with torch.device("meta"):
        network, restore = build(name)
        return count_parameters(network), count_macs(lambda: restore(torch.zeros(1, _channels(name), size, size)))


def _channels(name: str) -> int:
    return ZOO[name].channels if name in ZOO else 3


@torch.inference_mode()
def run(name: str, size: int, repeats: int, threads: int) -> tuple[float, float]:
    """Peak memory in MiB above the weights, and median seconds, of one forward pass; call it in a new process."""
    torch.set_num_threads(threads)
    network, restore = build(name)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network.to(device).eval()
    x = torch.rand(1, _channels(name), size, size, device=device)
    before = peak_bytes()
    seconds = [seconds_of(lambda: restore(x)) for _ in range(repeats + 1)][1:]
    return (peak_bytes() - before) / 2**20, statistics.median(seconds)


def measure(names: list[str], size: int, repeats: int, threads: int, console: Console) -> list[Cost]:
    """The costs of networks, with memory and time where `repeats` is positive."""
    costs = []
    for name in track(names, "networks", console=console, transient=True):
        memory = seconds = None
        if repeats:
            try:
                memory, seconds = in_new_process(run, name, size, repeats, threads)
            except BrokenProcessPool:
                console.print(f"{name}: the process that ran it was killed, as happens where memory is short.")
        costs.append(Cost(name, *count(name, size), memory, seconds))
    return costs


def markdown(rows: list[tuple[str, ...]]) -> str:
    """The table as Markdown."""
    lines = [f"| {' | '.join(COLUMNS)} |", f"|{'---|' * len(COLUMNS)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="published settings, classes or configs; every setting by default")
    parser.add_argument("--size", type=int, default=256, help="height and width of the picture")
    parser.add_argument("--repeats", type=int, default=3, help="timed forward passes after one that does not count")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--no-run", action="store_true", help="count only")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    args = parser.parse_args()
    errors = Console(stderr=True)
    names = args.networks or list(ZOO)
    try:
        costs = measure(names, args.size, 0 if args.no_run else args.repeats, args.threads, errors)
    except DtirError as error:
        errors.print(f"error: {error}", style="red")
        return 1
    rows = [cost.row(ZOO.get(cost.name), args.size) for cost in costs]
    if args.markdown:
        print(markdown(rows))
        return 0
    table = Table(title=f"one picture of {args.size} x {args.size}, float32, {args.threads} threads")
    for index, column in enumerate(COLUMNS):
        table.add_column(
            column, justify="left" if index in (0, len(COLUMNS) - 1) else "right", no_wrap=index == 0, overflow="fold"
        )
    for row in rows:
        table.add_row(*row)
    # Not a terminal: wide enough for every column.
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
