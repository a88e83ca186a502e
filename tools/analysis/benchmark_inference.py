"""Seconds of a forward pass, and of forward and backward, of networks; against other code, if that is at hand.

    python tools/analysis/benchmark_inference.py restormer --size 128 --threads 1
    python tools/analysis/benchmark_inference.py restormer --reference PATH/restormer_arch.py:Restormer

`--reference FILE:CLASS` takes a class from a Python file, such as a checkout of the published code. It gets the same
constructor arguments, weights and pictures; both are timed in turn in one run, and the ratio is the reference's time
over ours. Peak memory is that of one forward and backward pass in a process of its own.
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from dtir.cli.importing import add_import_argument
from dtir.cli.numbers import positive_int
from dtir.core.errors import ConfigError, DtirError
from dtir.measure.memory import in_new_process, peak_bytes
from dtir.measure.timing import alternate
from dtir.models.backbones.parts.layers import lay_out
from dtir.models.backbones.zoo import ZOO
from dtir.registry import BACKBONES

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def build(name: str, reference: str | None) -> nn.Module:
    """The network of a published setting, ours or the reference's, with weights that depend on the setting alone.

    Raises:
        ConfigError: The setting, file or class is not known.
    """
    if name not in ZOO:
        raise ConfigError(f"'{name}' is not a published setting; known: {', '.join(ZOO)}.")
    config = ZOO[name].backbone
    torch.manual_seed(0)
    ours = BACKBONES.build(config)
    generator = torch.Generator().manual_seed(0)
    state = {key: _random(value, generator) for key, value in ours.state_dict().items()}
    network = (
        ours if reference is None else _reference_class(reference)(**{k: v for k, v in config.items() if k != "type"})
    )
    network.load_state_dict(state, strict=True)
    return network.eval()


def _random(value: Tensor, generator: torch.Generator) -> Tensor:
    """Small weights; constants such as indices and masks, and what is as large as 1 by design, stay."""
    if not value.is_floating_point() or value.ndim < 2:
        return value
    return 0.02 * torch.randn(value.shape, generator=generator)


def _reference_class(reference: str) -> type[nn.Module]:
    path, _, name = reference.rpartition(":")
    if not Path(path).is_file():
        raise ConfigError(f"--reference {reference}: no file '{path}'; expected FILE:CLASS.")
    sys.path.insert(0, str(Path(path).parent))
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, name):
        raise ConfigError(f"--reference {reference}: '{path}' has no class '{name}'.")
    return getattr(module, name)


def passes(network: nn.Module, x: Tensor) -> dict[str, Callable[[], object]]:
    """A forward pass without gradients, and a forward and backward pass."""

    @torch.inference_mode()
    def forward() -> Tensor:
        return _first(network(x))

    def both() -> None:
        network.zero_grad(set_to_none=True)
        _first(network(x)).float().square().mean().backward()

    return {"forward": forward, "with backward": both}


def _first(out: Tensor | list | tuple) -> Tensor:
    return out if isinstance(out, Tensor) else _first(out[0])


def peak(name: str, reference: str | None, args: argparse.Namespace) -> float:
    """MiB that a forward and backward pass adds to a process; call it in a new one."""
    torch.set_num_threads(args.threads)
    network, x = _prepared(name, reference, args)
    before = peak_bytes()
    passes(network, x)["with backward"]()
    return (peak_bytes() - before) / 2**20


def _prepared(name: str, reference: str | None, args: argparse.Namespace) -> tuple[nn.Module, Tensor]:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    layout = torch.contiguous_format if reference else FORMATS[args.format]
    network = lay_out(build(name, reference).to(device, DTYPES[args.dtype]), layout)
    x = torch.rand(args.batch, ZOO[name].channels, args.size, args.size, generator=torch.Generator().manual_seed(1))
    return network, x.to(device, DTYPES[args.dtype]).to(memory_format=layout)


def compare(name: str, args: argparse.Namespace) -> list[tuple[str, ...]]:
    """Rows of the table for one network."""
    kinds = {"ours": None, "reference": args.reference} if args.reference else {"ours": None}
    prepared = {kind: _prepared(name, reference, args) for kind, reference in kinds.items()}
    calls = {kind: passes(*network) for kind, network in prepared.items()}
    with torch.inference_mode():
        outputs = {kind: call["forward"]().clone() for kind, call in calls.items()}
    memory = {kind: in_new_process(peak, name, reference, args) for kind, reference in kinds.items()}
    rows = []
    for what in ("forward", "with backward"):
        seconds = alternate({kind: call[what] for kind, call in calls.items()}, args.rounds, warm_up=1)
        row = [name, what, f"{seconds['ours']:.3f}", f"{memory['ours']:.0f}"]
        if args.reference:
            expected = outputs["reference"]
            difference = ((outputs["ours"] - expected).abs().max() / expected.abs().max()).item()
            row += [f"{seconds['reference']:.3f}", f"{memory['reference']:.0f}"]
            row += [f"{seconds['reference'] / seconds['ours']:.2f}", f"{difference:.1e}"]
        rows.append(tuple(row))
    return rows


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", help="published settings, see dtir/models/backbones/zoo.py")
    parser.add_argument("--size", type=positive_int, default=128, help="height and width of the pictures")
    parser.add_argument("--batch", type=positive_int, default=1)
    parser.add_argument("--threads", type=positive_int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=positive_int, default=5, help="timed rounds after one that does not count")
    parser.add_argument("--format", choices=FORMATS, default="contiguous", help="memory format of our network")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--reference", metavar="FILE:CLASS", help="other code of the same network")
    add_import_argument(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    columns = ["network", "pass", "s", "peak MiB"]
    columns += ["ref. s", "ref. MiB", "ratio", "rel. diff"] if args.reference else []
    table = Table(
        title=f"{args.batch} x {args.size} x {args.size}, {args.dtype}, {args.format}, {args.threads} threads"
    )
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < 2 else "right", no_wrap=True)
    try:
        for name in args.networks:
            for row in compare(name, args):
                table.add_row(*row)
    except DtirError as error:
        Console(stderr=True).print(f"error: {error}", style="red")
        return 1
    # Not a terminal: wide enough for every column.
    Console(width=None if sys.stdout.isatty() else 120).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
