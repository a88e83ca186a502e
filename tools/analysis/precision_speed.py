"""Times a restorer's training step and its restoring of a picture, in float32, bf16 and compiled, side by side.

    python -m tools.analysis.precision_speed CONFIG [--batch 8] [--patch 128] [--picture 512] [--out speed.json]

Every way sees the same machine, as all take turns. Compiling is left out with --no-compile. On a GPU it also says for
how long of a step the GPU computes: what is beyond, it waits for Python to tell it what is next.
"""

import argparse
import json
import math
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

from benchmarks.lab import markdown
from dtir.cli import exit_code
from dtir.cli.importing import add_import_argument
from dtir.cli.launching import load_config
from dtir.cli.numbers import positive_int
from dtir.core.atomic import atomic_write
from dtir.engine.compiling import compile_network
from dtir.measure.timing import alternate, synchronize
from dtir.registry import RESTORERS, SCOPE

# By name: whether bf16, and how the network is compiled, None for not at all.
WAYS: dict[str, tuple[bool, dict | None]] = {
    "float32": (False, None),
    "bf16": (True, None),
    "bf16, compiled": (True, {}),
    "bf16, blocks compiled": (True, {"blocks": True}),
}


def build(config, device: torch.device, compiled: dict | None) -> nn.Module:
    """The restorer of a config with random weights, ready to train; `compiled` has options of `compile_network`."""
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(SCOPE):
        model = RESTORERS.build(config.model).to(device).train()
    if compiled is not None:
        # A shape in training, and one of the picture.
        compile_network(model, shapes=2, **compiled)
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


def kernel_seconds(step: Callable[[], None], device: torch.device, steps: int = 3) -> float:
    """Seconds of a step for which a GPU computes; NaN without one."""
    if device.type != "cuda":
        return math.nan
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        for _ in range(steps):
            step()
        synchronize()
    return sum(event.self_device_time_total for event in profiler.key_averages()) / 1e6 / steps


def measure(config, args: argparse.Namespace) -> list[tuple[str, float, float, float]]:
    """Milliseconds of a training step, of its kernels on a GPU, and of a restored picture, by way."""
    device = torch.device(get_device())
    batch = torch.rand(args.batch, 3, args.patch, args.patch, device=device).to(memory_format=torch.channels_last)
    picture = torch.rand(1, 3, args.picture, args.picture, device=device).to(memory_format=torch.channels_last)
    ways = {name: WAYS[name] for name in args.ways if args.compile or WAYS[name][1] is None}
    models = {name: build(config, device, compiled) for name, (_, compiled) in ways.items()}
    trained = {name: training_step(models[name], batch, amp) for name, (amp, _) in ways.items()}
    steps = alternate(trained, args.rounds)
    kernels = {name: kernel_seconds(step, device) for name, step in trained.items()}
    pictures = alternate({name: restoring(models[name], picture, amp) for name, (amp, _) in ways.items()}, args.rounds)
    return [(name, 1e3 * steps[name], 1e3 * kernels[name], 1e3 * pictures[name]) for name in ways]


def shown(milliseconds: float) -> str:
    """Milliseconds in a table; a dash where they could not be measured."""
    return "-" if math.isnan(milliseconds) else f"{milliseconds:.1f}"


def entry(way: str, step: float, kernels: float, picture: float) -> dict:
    """A way's figures in the file, which has no NaN."""
    known = {} if math.isnan(kernels) else {"kernels_ms": kernels}
    return {"way": way, "training_ms": step, **known, "picture_ms": picture}


def main() -> int:
    """Measures, prints and writes; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config")
    parser.add_argument("--batch", type=positive_int, default=8, help="pictures of a training step")
    parser.add_argument("--patch", type=positive_int, default=128, help="their side in pixels")
    parser.add_argument("--picture", type=positive_int, default=512, help="side of the restored picture in pixels")
    parser.add_argument("--rounds", type=positive_int, default=20, help="measured rounds")
    parser.add_argument(
        "--ways",
        nargs="+",
        default=list(WAYS),
        choices=list(WAYS),
        help="what is measured; the first is what others are faster than",
    )
    parser.add_argument("--no-compile", dest="compile", action="store_false", help="leave out torch.compile")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    add_import_argument(parser)
    args = parser.parse_args()
    if not args.compile and all(WAYS[way][1] is not None for way in args.ways):
        parser.error("--no-compile leaves none of --ways")
    rows = measure(load_config(args.config), args)
    first = rows[0]
    header = ["way", "ms / training step", "times faster", "of it kernels", "ms / picture", "times faster"]
    lines = [
        (way, f"{step:.1f}", f"{first[1] / step:.2f}", shown(kernels), f"{picture:.1f}", f"{first[3] / picture:.2f}")
        for way, step, kernels, picture in rows
    ]
    print(f"{args.config}: {args.batch} x {args.patch}^2, picture {args.picture}^2, {get_device()}")
    print(markdown(header, lines))
    if args.out:
        with atomic_write(args.out, "w", encoding="utf-8") as file:
            json.dump([entry(*row) for row in rows], file)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
