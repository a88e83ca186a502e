"""The mean of the weights of several checkpoints of one network.

    python tools/misc/average_checkpoints.py CHECKPOINT CHECKPOINT [CHECKPOINT ...] OUT

The checkpoints are of the same network, each after a rate that fell to nothing, and one goes on from another, or all
from the same: their mean is then often better than any of them (Wortsman et al., "Model soups", ICML 2022). OUT holds
the mean of their averaged weights alone, to be packed or to go on from (`load_from`); measure it on pictures that no
test has.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from dtir.cli import exit_code
from dtir.core.atomic import atomic_save, require_writable_folder
from dtir.core.checkpoint import load_checkpoint
from dtir.core.errors import CheckpointError


def mean_of(states: Sequence[dict[str, Tensor]], names: Sequence[str]) -> dict[str, Tensor]:
    """The mean of state dicts, in double precision; entries that are no floating-point numbers have to be equal.

    Args:
        states: Two or more.
        names: Their names in messages.

    Raises:
        CheckpointError: They are not of the same network.
    """
    first = states[0]
    for name, state in zip(names[1:], states[1:], strict=True):
        odd = first.keys() ^ state.keys() or {key for key in first if first[key].shape != state[key].shape}
        odd = odd or {key for key in first if not _averaged(first[key]) and not torch.equal(first[key], state[key])}
        if odd:
            raise CheckpointError(f"'{name}' is not of the same network as '{names[0]}': they differ in '{min(odd)}'.")
    return {
        key: torch.stack([state[key].double() for state in states]).mean(0).to(value.dtype)
        if _averaged(value)
        else value.clone()
        for key, value in first.items()
    }


def _averaged(value: Tensor) -> bool:
    return value.is_floating_point()


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the checkpoint; returns the exit code.

    Raises:
        DtirError: A checkpoint cannot be read, or is not of the same network as the others.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", metavar="CHECKPOINT", nargs="+", help="two or more")
    parser.add_argument("out", metavar="OUT", type=Path, help="checkpoint to write")
    args = parser.parse_args(argv)
    if len(args.checkpoints) == 1:
        parser.error("name at least two checkpoints, and OUT.")
    require_writable_folder(args.out.parent, "OUT")
    saved = [load_checkpoint(path) for path in args.checkpoints]
    state = mean_of([checkpoint["state_dict"] for checkpoint in saved], args.checkpoints)
    atomic_save({"meta": {"model_cfg": saved[-1]["meta"]["model_cfg"]}, "state_dict": state}, args.out)
    print(f"wrote {args.out}: the mean of {len(saved)} checkpoints")
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
