"""Weights of a network in a larger one that computes the same at first.

    python tools/misc/grow.py CONFIG CHECKPOINT OUT

CONFIG describes the larger network, CHECKPOINT holds the (averaged) weights of one with fewer blocks and the same
widths, or without the parts of their own of some tasks (`ExtendedConditioning`). Blocks that the checkpoint lacks stay
as they are built, and must change nothing until they are trained, as NAFNet's do; the time step's modulation of them is
none. Tasks whose parts are new go to the time steps of these. Go on with
`python tools/train.py CONFIG --cfg-options load_from=OUT`.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.registry import DefaultScope
from torch import Tensor

from dtir.cli.importing import add_import_argument
from dtir.cli.launching import load_config
from dtir.core.atomic import atomic_write
from dtir.core.checkpoint import load_checkpoint
from dtir.core.errors import CheckpointError, DtirError
from dtir.models import ConditionedNetwork
from dtir.registry import RESTORERS, SCOPE

PREFIX = "network.backbone."
# Of the parts of tasks' own, before their numbers.
EXTENSIONS = ("network.extensions", "network.curves")


def grown(network: ConditionedNetwork, state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the larger restorer.

    Args:
        network: The larger network.
        state: State dict of the smaller restorer.
        own: State dict of the larger restorer as it was built.

    Raises:
        CheckpointError: The checkpoint holds keys that the larger network lacks, lacks more than blocks and parts of
            tasks' own, or has other shapes.
    """
    names = network.backbone.ordered_blocks()
    known = [any(key.startswith(f"{PREFIX}{name}.") for key in state) for name in names]
    new = tuple(f"{PREFIX}{name}." for name, is_known in zip(names, known, strict=True) if not is_known)
    rows = torch.cat([torch.full((width,), k) for width, k in zip(network.widths, known, strict=True)]).repeat(2)
    steps = getattr(network, "extended_steps", [])
    later = [k for k in range(len(steps)) if not any(key.startswith(f"{EXTENSIONS[0]}.{k}.") for key in state)]
    new += tuple(f"{part}.{k}." for part in EXTENSIONS for k in later)
    fitted = dict(state)
    for key in own.keys() & state.keys() & {f"network.to_modulation.{part}" for part in ("weight", "bias")}:
        if int(rows.sum()) == len(state[key]):
            fitted[key] = own[key].clone()
            fitted[key][rows] = state[key]
    if later:
        moved = torch.isin(own["matched_t"], own["matched_t"].new_tensor([steps[k] for k in later]))
        fitted["matched_t"] = torch.where(moved, own["matched_t"], state["matched_t"])
    kept = {key for key in own if not key.startswith(new)}
    wrong = kept ^ fitted.keys() or {key for key in kept if own[key].shape != fitted[key].shape}
    if wrong:
        raise CheckpointError(f"the checkpoint is not of a smaller network of the config's kind: key '{min(wrong)}'.")
    return {**own, **fitted}


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the checkpoint; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="config of the larger network")
    parser.add_argument("checkpoint", type=Path, help="checkpoint of the smaller one")
    parser.add_argument("out", type=Path, help="checkpoint to write")
    add_import_argument(parser)
    args = parser.parse_args(argv)
    try:
        write(args.config, args.checkpoint, args.out)
    except DtirError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


@torch.no_grad()
def write(config: Path, checkpoint: Path, out: Path) -> None:
    """Writes the larger network's checkpoint, once it computes what the smaller one does.

    Raises:
        CheckpointError: See `grown`; or the new parts change the pictures.
    """
    saved, settings = load_checkpoint(checkpoint), load_config(config).model.to_dict()
    with DefaultScope.overwrite_default_scope(SCOPE):
        large = RESTORERS.build(settings).eval()
        small = RESTORERS.build(saved["meta"]["model_cfg"]).eval()
    small.load_state_dict(saved["state_dict"])
    large.load_state_dict(grown(large.network, saved["state_dict"], large.state_dict()))
    generator = torch.Generator().manual_seed(0)
    pictures, t = torch.rand(2, 3, 48, 56, generator=generator), torch.tensor([1, large.network.num_timesteps])
    if not torch.allclose(large.network(pictures, t), small.network(pictures, t), atol=1e-5):
        raise CheckpointError(f"'{checkpoint}': the new parts change the pictures; they have to be the identity.")
    with atomic_write(out) as file:
        torch.save({"meta": {"model_cfg": settings}, "state_dict": large.state_dict()}, file)


if __name__ == "__main__":
    sys.exit(main())
