"""Which networks compile with `torch.compile` and export to ONNX, and how far their outputs then are from eager ones.

pip install -e .[onnx]
python tools/analysis/check_export.py                     # every registered network, in a small setting
python tools/analysis/check_export.py Restormer --markdown
"""

import argparse
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from dtir.apis.export.graph_files import Signature, open_graph, write_graph
from dtir.apis.export.writing import TRACED, noise
from dtir.cli import exit_code
from dtir.cli.importing import add_import_argument
from dtir.models.backbones.parts.pictures import restored_picture
from dtir.registry import BACKBONES
from dtir.testing.small_backbones import SMALL

WAYS = {"compile": "torch.compile", "onnx": "ONNX"}
SIZE = 32
PICTURE = {0: "batch", 2: "height", 3: "width"}


class Restoring(nn.Module):
    """A backbone as a network from pictures in [0, 1] to restored ones, whatever its own convention."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to the same."""
        return restored_picture(self.backbone, x)


def build(name: str) -> nn.Module:
    """A small network in which nothing is zero."""
    torch.manual_seed(0)
    network = BACKBONES.build({"type": name, **SMALL[name]})
    for p in network.parameters():
        if not p.any():
            nn.init.normal_(p, std=0.1)
    return Restoring(network).eval()


def compiled(network: nn.Module, x: Tensor) -> Tensor:
    """The output after `torch.compile` of the whole graph."""
    torch.compiler.reset()
    with torch.no_grad():
        return torch.compile(network, fullgraph=True)(x)


def exported(network: nn.Module, x: Tensor) -> Tensor:
    """The output of ONNX Runtime for the exported network, whose sizes are free; it is traced with another size."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        write_graph(path, "onnx", network, [noise(*TRACED)], Signature(("picture",), ("out",), (PICTURE,)), {})
        return torch.from_numpy(open_graph(path, "onnxruntime").run(x.numpy())[0])


def attempt(
    how: Callable[[nn.Module, Tensor], Tensor], network: nn.Module, x: Tensor, expected: Tensor
) -> tuple[str, str]:
    """Two cells: whether it works, or the reason why not, and the largest difference."""
    try:
        out = how(network, x)
    except Exception as error:
        reason = next((line.strip() for line in reversed(str(error).splitlines()) if line.strip()), "")
        return f"no: {type(error).__name__}: {reason[-120:]}", "-"
    return "yes", f"{(out - expected).abs().max().item():.1e}"


def check(name: str, ways: Sequence[str]) -> tuple[str, ...]:
    """The row of one network."""
    network, x = build(name), torch.rand(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = network(x)
    attempts = {"compile": compiled, "onnx": exported}
    return name, *(cell for way in ways for cell in attempt(attempts[way], network, x, expected))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", help="registered classes; all of them by default")
    parser.add_argument("--only", choices=WAYS, help="one of both ways")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    add_import_argument(parser)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    ways = [args.only] if args.only else list(WAYS)
    columns = ["network", *(cell for way in ways for cell in (WAYS[way], "difference"))]
    rows = [
        check(name, ways) for name in track(args.networks or sorted(SMALL), "networks", console=Console(stderr=True))
    ]
    if args.markdown:
        print("\n".join(f"| {' | '.join(cells)} |" for cells in (columns, ["---"] * len(columns), *rows)))
        return 0
    table = Table(title=f"small settings, 1 x 3 x {SIZE} x {SIZE}, float32", show_lines=True)
    for column in columns:
        table.add_column(column)
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 140).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
