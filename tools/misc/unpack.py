"""A checkpoint to train from of a model file, such as the packaged one.

    python tools/misc/unpack.py MODEL OUT [--without-parts]

OUT holds the restorer's weights in float32 and its config, without estimator. With --without-parts the parts of their
own of some tasks (`ExtendedConditioning`) are left out, and their tasks go back to the steps that these started from.
Go on with `python tools/train.py CONFIG --cfg-options load_from=OUT`.
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
from dtir.core.errors import CheckpointError

PARTS = ("network.extensions.", "network.curves.")


def without_parts(config: dict, state: dict[str, Tensor]) -> tuple[dict, dict[str, Tensor]]:
    """Config and weights of a restorer whose network has no parts of tasks' own.

    Raises:
        CheckpointError: The network has no such parts.
    """
    network = dict(config.get("network", {}))
    kind = network.get("type", "")
    if kind.removeprefix("dtir.") != "ExtendedConditioning":
        raise CheckpointError(f"the network is a '{kind or config.get('type')}', without parts of tasks' own.")
    starts = {extension["step"]: extension["start"] for extension in network.pop("extensions")}
    network["type"] = "TimeConditioning"
    kept = {key: value for key, value in state.items() if not key.startswith(PARTS)}
    kept["matched_t"] = torch.tensor([starts.get(step, step) for step in state["matched_t"].tolist()])
    steps = dict(zip(config["tasks"], kept["matched_t"].tolist(), strict=True))
    return {**config, "network": network, "matched_t": steps}, kept


def main(argv: Sequence[str] | None = None) -> int:
    """Writes the checkpoint; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model file (.safetensors)")
    parser.add_argument("out", type=Path, help="checkpoint to write")
    parser.add_argument("--without-parts", action="store_true", help="leave out the parts of tasks' own")
    args = parser.parse_args(argv)
    facts, stored, _ = read_model_file(args.model)
    state = {key: value.float() if value.is_floating_point() else value for key, value in stored.items()}
    config = facts.config
    if args.without_parts:
        config, state = without_parts(config, state)
    meta = {"model_cfg": config, "custom_imports": list(facts.custom_imports)}
    with atomic_write(args.out) as file:
        torch.save({"meta": meta, "state_dict": state}, file)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
