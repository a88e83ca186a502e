"""Times a restorer's training step and its restoring of a picture, in float32, bf16 and compiled, side by side.

    python -m tools.analysis.precision_speed CONFIG [--batch 8] [--patch 128] [--picture 512] [--out speed.json]

Every way sees the same machine, as all take turns. Compiling is left out with --no-compile.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from benchmarks.lab import markdown
from dtir.cli import exit_code
from dtir.cli.importing import add_import_argument
from dtir.cli.launching import load_config
from dtir.cli.numbers import positive_int
from dtir.core.atomic import atomic_write
from dtir.measure.timing import alternate
from dtir.registry import RESTORERS, SCOPE

# Name, whether bf16, whether compiled.
WAYS = {"float32": (False, False), "bf16": (True, False), "bf16, compiled": (True, True)}


def build(config, device: torch.device, compiled: bool) -> nn.Module:
    """The restorer of a config with random weights, ready to train."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(SCOPE):
        model = RESTORERS.build(config.model).to(device).train()
    if compiled:
        model.network.compile(dynamic=False)
    return model


def training_step(model: nn.Module, batch: Tensor, amp: bool) -> Callable[[], None]:
    """A function that does one step: forward, loss, backward, optimiser."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    task = torch.arange(len(batch), device=batch.device) % len(model.tasks)
    samples = {"gt": batch.flip(0), "task": task, "num_generative": 0, "noise_seed": 0, "slots": task}

    def step() -> None:
        with torch.autocast(batch.device.type, dtype=torch.bfloat16, enabled=amp):
            losses = model.losses(batch, samples)
        sum(losses.values()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def restoring(model: nn.Module, picture: Tensor, amp: bool) -> Callable[[], None]:
    """A function that restores a picture (1, 3, H, W)."""
    t = model.timestep_of(torch.zeros(1, dtype=torch.long, device=picture.device))

    def restore() -> None:
        with torch.inference_mode(), torch.autocast(picture.device.type, dtype=torch.bfloat16, enabled=amp):
            model.restore(picture, t)

    return restore


def measure(config, args: argparse.Namespace) -> list[tuple[str, float, float]]:
    """Milliseconds of a training step and of a restored picture, by way."""
    device = torch.device(get_device())
    batch = torch.rand(args.batch, 3, args.patch, args.patch, device=device).to(memory_format=torch.channels_last)
    picture = torch.rand(1, 3, args.picture, args.picture, device=device).to(memory_format=torch.channels_last)
    ways = {name: way for name, way in WAYS.items() if args.compile or not way[1]}
    models = {name: build(config, device, compiled) for name, (_, compiled) in ways.items()}
    steps = alternate({name: training_step(models[name], batch, amp) for name, (amp, _) in ways.items()}, args.rounds)
    pictures = alternate({name: restoring(models[name], picture, amp) for name, (amp, _) in ways.items()}, args.rounds)
    return [(name, 1e3 * steps[name], 1e3 * pictures[name]) for name in ways]


def main() -> int:
    """Measures, prints and writes; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("--batch", type=positive_int, default=8, help="pictures of a training step")
    parser.add_argument("--patch", type=positive_int, default=128, help="their side in pixels")
    parser.add_argument("--picture", type=positive_int, default=512, help="side of the restored picture in pixels")
    parser.add_argument("--rounds", type=positive_int, default=20, help="measured rounds")
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave out torch.compile")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    add_import_argument(parser)
    args = parser.parse_args()
    rows = measure(load_config(args.config), args)
    first = rows[0]
    header = ["way", "ms / training step", "times faster", "ms / picture", "times faster"]
    lines = [(n, f"{s:.1f}", f"{first[1] / s:.2f}", f"{p:.1f}", f"{first[2] / p:.2f}") for n, s, p in rows]
    print(f"{args.config}: {args.batch} x {args.patch}^2, picture {args.picture}^2, {get_device()}")
    print(markdown(header, lines))
    if args.out:
        with atomic_write(args.out, "w", encoding="utf-8") as file:
            json.dump([dict(zip(("way", "training_ms", "picture_ms"), row, strict=True)) for row in rows], file)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
