"""A checkpoint whose network takes the time step in fewer parameters, and computes the same at the steps of its tasks.

    python tools/misc/narrow.py CHECKPOINT OUT

A network reads its tasks' steps alone, while its time modulation could tell as many directions of the embedding as that
is long. One less than there are steps is enough for what they say (`modulation_rank`). Between the steps, which no task
was trained at, gains and shifts become others.
"""

import argparse
import copy
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.registry import DefaultScope
from torch import Tensor

from dtir.cli.importing import add_import_argument
from dtir.core.atomic import atomic_write
from dtir.core.checkpoint import load_checkpoint
from dtir.core.errors import CheckpointError, DtirError
from dtir.models import ConditionedNetwork
from dtir.registry import RESTORERS, SCOPE


def steps_in_use(network: ConditionedNetwork, matched_t: Tensor) -> Tensor:
    """The time steps (N,), sorted, whose modulation some task uses; that of a part of its own is the one it started at.

    Args:
        network: The network.
        matched_t: Steps of the tasks (K,).
    """
    starts = dict(zip(network.extended_steps, network.starts, strict=True))
    return torch.tensor(sorted({starts.get(step, step) for step in matched_t.tolist()}))


def narrowed(network: ConditionedNetwork, steps: Tensor) -> dict[str, Tensor]:
    """Weights of the modulation that are the same at these steps, of the least rank that all N of them may need.

    The embeddings less their mean span N - 1 directions; what the layer makes of these is kept, and what it makes of
    the mean goes to the bias.

    Args:
        network: The network.
        steps: Time steps (N,), at least two.
    """
    embedded, layer = network.embedding(steps).double(), network.to_modulation
    mean = embedded.mean(0)
    code = torch.linalg.svd(embedded - mean, full_matrices=False).Vh[: len(steps) - 1]
    weight = layer.weight.double()
    state = {
        "network.modulation_code.weight": code,
        "network.to_modulation.weight": weight @ code.T,
        "network.to_modulation.bias": layer.bias.double() + weight @ (mean - code.T @ (code @ mean)),
    }
    return {key: value.to(layer.weight) for key, value in state.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the checkpoint; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="checkpoint of the network")
    parser.add_argument("out", type=Path, help="checkpoint to write")
    add_import_argument(parser)
    args = parser.parse_args(argv)
    try:
        write(args.checkpoint, args.out)
    except DtirError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


@torch.no_grad()
def write(checkpoint: Path, out: Path) -> None:
    """Writes the checkpoint of the narrowed network.

    Raises:
        CheckpointError: The network has no time modulation, has it in few parameters, or has tasks at one step only.
    """
    saved = load_checkpoint(checkpoint)
    state, settings = saved["state_dict"], copy.deepcopy(saved["meta"]["model_cfg"])
    restorer = built(settings, state)
    if not isinstance(restorer.network, ConditionedNetwork) or "network.modulation_code.weight" in state:
        raise CheckpointError(f"'{checkpoint}': the network has no time modulation that could be narrowed.")
    steps = steps_in_use(restorer.network, restorer.matched_t)
    if len(steps) < 2:
        raise CheckpointError(
            f"'{checkpoint}': all tasks have the time step {steps.tolist()}; at least two are needed."
        )
    settings["network"]["modulation_rank"] = len(steps) - 1
    state = {**state, **narrowed(restorer.network, steps)}
    with atomic_write(out) as file:
        torch.save({"meta": {"model_cfg": settings}, "state_dict": state}, file)


def built(settings: dict, state: dict[str, Tensor]) -> torch.nn.Module:
    """The restorer of a config with these weights."""
    with DefaultScope.overwrite_default_scope(SCOPE):
        restorer = RESTORERS.build(copy.deepcopy(settings)).eval()
    restorer.load_state_dict(state)
    return restorer


if __name__ == "__main__":
    sys.exit(main())
