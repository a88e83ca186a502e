"""Parameters, multiply-accumulates, peak memory and time of networks, beside the published figures.

    python tools/analysis/get_flops.py                                    # every published setting
    python tools/analysis/get_flops.py restormer nafnet_gopro_w64 --size 512 --no-run
    python tools/analysis/get_flops.py configs/dtir/nafnet_10task.py      # a config with its conditioning
    python tools/analysis/get_flops.py nafnet_gopro_w64 nafnet_gopro_w64+method   # with time conditioning and adapters

For networks with adapters a second table gives what these add, beside what the paper's add to NAFNet.

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

from dtir.cli.importing import add_import_argument
from dtir.cli.launching import load_config
from dtir.cli.numbers import positive_int
from dtir.core.errors import ConfigError, DtirError
from dtir.measure.complexity import count_macs, count_parameters
from dtir.measure.memory import in_new_process, peak_bytes
from dtir.measure.timing import seconds_of
from dtir.models import ConditionedNetwork
from dtir.models.backbones.parts.pictures import restored_picture
from dtir.models.backbones.traits import Published
from dtir.models.backbones.zoo import ZOO
from dtir.models.modulation import ModulatedNetwork
from dtir.registry import BACKBONES, RESTORERS, SCOPE

WITH_METHOD = "+method"
# arXiv 2506.21722, table 4: what its adapters add, parameters in millions, and GFLOPs at 256 x 256.
PAPER_ADAPTERS, PAPER_SIZE = {f"nafnet_gopro_w64{WITH_METHOD}": (1.8, 8.0)}, 256
ADAPTER_COLUMNS = ("adapters of", "params / M", "paper", "GMACs", "paper")
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
        return model, lambda x: model.restore(x, _first_steps(x))
    if name.endswith(WITH_METHOD):
        network, _ = build(name.removesuffix(WITH_METHOD))
        conditioned = ConditionedNetwork(network, adapter={"type": "ParallelMoEAdapter"})
        return conditioned, lambda x: conditioned(x, _first_steps(x))
    if name not in ZOO and name not in BACKBONES.module_dict:
        raise ConfigError(f"'{name}' is neither a published setting, a registered backbone, nor a config file (.py).")
    network = BACKBONES.build(ZOO[name].backbone if name in ZOO else {"type": name})
    return network, lambda x: restored_picture(network, x)


def count(name: str, size: int) -> tuple[int, int]:
    """Parameters, and multiply-accumulates for one picture of `size` x `size`."""
    with torch.device("meta"):
        network, restore = build(name)
        return count_parameters(network), count_macs(lambda: restore(torch.zeros(1, _channels(name), size, size)))


class Absent(nn.Module):
    """What stands in for an adapter of either kind."""

    def forward(self, x: Tensor, prompt: Tensor) -> Tensor:
        """The block's output."""
        return x

    def added(self, output: Tensor, x: Tensor, prompt: Tensor) -> Tensor:
        """The layer's output."""
        return output


def count_adapters(name: str, size: int) -> tuple[int, int] | None:
    """Parameters of a network's adapters, and their multiply-accumulates for one picture; None without adapters."""
    with torch.device("meta"):
        network, restore = build(name)
        hosts = [module for module in network.modules() if isinstance(module, ModulatedNetwork) and module.adapters]
        if not hosts:
            return None
        x, (host,) = torch.zeros(1, _channels(name), size, size), hosts
        params, macs = count_parameters(host.adapters), count_macs(lambda: restore(x))
        for key in host.adapters:
            host.adapters[key] = Absent()
        return params, macs - count_macs(lambda: restore(x))


def adapter_rows(names: list[str], size: int) -> list[tuple[str, ...]]:
    """Cells of the table of adapters, one row for each network that has some."""
    counts = {name: count_adapters(name, size) for name in names}
    rows = []
    for name, (params, macs) in ((name, found) for name, found in counts.items() if found):
        paper_params, paper_gflops = PAPER_ADAPTERS.get(name, (None, None))
        # The paper's are for 256 x 256.
        stated = _cell(paper_gflops if size == PAPER_SIZE else None)
        rows.append((name, f"+{params / 1e6:.2f}", _cell(paper_params), f"+{macs / 1e9:.2f}", stated))
    return rows


def _first_steps(x: Tensor) -> Tensor:
    return torch.zeros(len(x), dtype=torch.long, device=x.device)


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


def markdown(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table as Markdown."""
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="published settings, classes or configs; every setting by default")
    parser.add_argument("--size", type=positive_int, default=256, help="height and width of the picture")
    parser.add_argument(
        "--repeats", type=positive_int, default=3, help="timed forward passes after one that does not count"
    )
    parser.add_argument("--threads", type=positive_int, default=torch.get_num_threads())
    parser.add_argument("--no-run", action="store_true", help="count only")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    add_import_argument(parser)
    args = parser.parse_args()
    errors = Console(stderr=True)
    names = args.networks or list(ZOO)
    try:
        costs = measure(names, args.size, 0 if args.no_run else args.repeats, args.threads, errors)
    except DtirError as error:
        errors.print(f"error: {error}", style="red")
        return 1
    rows = [cost.row(ZOO.get(cost.name), args.size) for cost in costs]
    adapters = adapter_rows(names, args.size)
    tables = [(COLUMNS, rows), *([(ADAPTER_COLUMNS, adapters)] if adapters else [])]
    if args.markdown:
        print("\n\n".join(markdown(*table) for table in tables))
        return 0
    title = f"one picture of {args.size} x {args.size}, float32, {args.threads} threads"
    # Not a terminal: wide enough for every column.
    console = Console(width=None if sys.stdout.isatty() else 140)
    for columns, cells in tables:
        console.print(as_table(title, columns, cells))
    return 0


def as_table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> Table:
    """A table for the terminal: numbers to the right."""
    table = Table(title=title)
    for column in columns:
        left = column in (columns[0], "figures from")
        table.add_column(column, justify="left" if left else "right", no_wrap=column == columns[0], overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


if __name__ == "__main__":
    sys.exit(main())
