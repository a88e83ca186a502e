"""The parts of tasks' own of a model on a network that was trained further without them.

    python -m tools.misc.graft CHECKPOINT MODEL OUT

CHECKPOINT is of a training that went on from MODEL's network without parts (tools/misc/unpack.py --without-parts);
MODEL is a model file with parts. OUT is a checkpoint with the network of the one and the parts of the other, at MODEL's
time steps. Whether the parts still fit is for a test to say.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dtir.apis.models.files import read_model_file
from dtir.cli import exit_code
from dtir.core.atomic import atomic_write
from dtir.core.checkpoint import load_checkpoint
from dtir.core.errors import CheckpointError
from tools.misc.unpack import PARTS, without_parts

# Of the tasks, which go to the steps of their parts.
STEPS = "matched_t"


def grafted(state: dict[str, Tensor], with_parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights `state` of a network with the parts and time steps of `with_parts`, in float32.

    Raises:
        CheckpointError: The networks differ in more than the parts.
    """
    parts = {key: value for key, value in with_parts.items() if key.startswith(PARTS) or key == STEPS}
    own = {key: value for key, value in state.items() if key != STEPS}
    wrong = own.keys() ^ (with_parts.keys() - parts.keys())
    wrong |= {key for key in own.keys() - wrong if own[key].shape != with_parts[key].shape}
    if wrong:
        raise CheckpointError(f"the networks differ in more than parts of tasks' own: key '{min(wrong)}'.")
    return {key: value.float() if value.is_floating_point() else value for key, value in (own | parts).items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the checkpoint; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path, help="checkpoint of the network without parts")
    parser.add_argument("model", type=Path, help="model file with parts")
    parser.add_argument("out", type=Path, help="checkpoint to write")
    args = parser.parse_args(argv)
    saved, (facts, stored, _) = load_checkpoint(args.checkpoint), read_model_file(args.model)
    own = saved.get("meta", {}).get("model_cfg")
    if own is None or "state_dict" not in saved:
        raise CheckpointError(f"'{args.checkpoint}' is no checkpoint of a dtir training.")
    bare, _ = without_parts(facts.config, stored)
    for key in ("network", "tasks"):
        if own.get(key) != bare[key]:
            raise CheckpointError(
                f"'{args.checkpoint}' and '{args.model}' differ in model.{key}: the checkpoint has to be of a training "
                "that went on from the model (tools/misc/unpack.py --without-parts)."
            )
    steps = dict(zip(facts.tasks, stored[STEPS].tolist(), strict=True))
    config = {**own, "network": facts.config["network"], STEPS: steps}
    meta = {"model_cfg": config, "custom_imports": list(facts.custom_imports)}
    with atomic_write(args.out) as file:
        torch.save({"meta": meta, "state_dict": grafted(saved["state_dict"], stored)}, file)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
