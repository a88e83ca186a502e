"""Weights of a shallower network in a deeper one that computes the same at first.

    python tools/misc/deepen.py CONFIG CHECKPOINT OUT

CONFIG describes the deeper network, CHECKPOINT holds the (averaged) weights of one with fewer blocks and the same
widths. Blocks that the checkpoint lacks stay as they are built, and must change nothing until they are trained, as
NAFNet's do; the time step's modulation of them is none. Go on with
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


def deepened(network: ConditionedNetwork, state: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state dict of the deeper restorer.

    Args:
        network: The deeper network.
        state: State dict of the shallower restorer.
        own: State dict of the deeper restorer as it was built.

    Raises:
        CheckpointError: The checkpoint holds keys that the deeper network lacks, lacks more than blocks, or has other
            shapes.
    """
    names = network.backbone.ordered_blocks()
    known = [any(key.startswith(f"{PREFIX}{name}.") for key in state) for name in names]
    new = tuple(f"{PREFIX}{name}." for name, is_known in zip(names, known, strict=True) if not is_known)
    rows = torch.cat([torch.full((width,), k) for width, k in zip(network.widths, known, strict=True)]).repeat(2)
    fitted = dict(state)
    for key in own.keys() & state.keys() & {f"network.to_modulation.{part}" for part in ("weight", "bias")}:
        if int(rows.sum()) == len(state[key]):
            fitted[key] = own[key].clone()
            fitted[key][rows] = state[key]
    kept = {key for key in own if not key.startswith(new)}
    wrong = kept ^ fitted.keys() or {key for key in kept if own[key].shape != fitted[key].shape}
    if wrong:
        raise CheckpointError(f"the checkpoint is not of a shallower network of the config's kind: key '{min(wrong)}'.")
    return {**own, **fitted}


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the checkpoint; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="config of the deeper network")
    parser.add_argument("checkpoint", type=Path, help="checkpoint of the shallower one")
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
    """Writes the deeper network's checkpoint, once it computes what the shallower one does.

    Raises:
        CheckpointError: See `deepened`; or the new blocks change the pictures.
    """
    saved, settings = load_checkpoint(checkpoint), load_config(config).model.to_dict()
    with DefaultScope.overwrite_default_scope(SCOPE):
        deep = RESTORERS.build(settings).eval()
        shallow = RESTORERS.build(saved["meta"]["model_cfg"]).eval()
    shallow.load_state_dict(saved["state_dict"])
    deep.load_state_dict(deepened(deep.network, saved["state_dict"], deep.state_dict()))
    generator = torch.Generator().manual_seed(0)
    pictures, t = torch.rand(2, 3, 48, 56, generator=generator), torch.tensor([1, deep.network.num_timesteps])
    if not torch.allclose(deep.network(pictures, t), shallow.network(pictures, t), atol=1e-5):
        raise CheckpointError(f"'{checkpoint}': the new blocks change the pictures; they have to be the identity.")
    with atomic_write(out) as file:
        torch.save({"meta": {"model_cfg": settings}, "state_dict": deep.state_dict()}, file)


if __name__ == "__main__":
    sys.exit(main())
