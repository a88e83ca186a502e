"""Folds the experts and the time conditioning of one task into plain layers, for deployment.

    python tools/deployment/fold_adapters.py work_dirs/run/iter_3250.pth --task hazy --out hazy.pth
    dtir restore photo.jpg --checkpoint hazy.pth --task hazy --out restored

The folded network restores that task as the checkpoint does, without routers, prompts and time embedding. The command
prints the parameters of both and the largest difference of their outputs on noise.
"""

import argparse
import sys

import torch
from rich.console import Console
from rich.table import Table

from dtir.apis.build import load_restorer
from dtir.cli.importing import add_import_argument
from dtir.core.atomic import atomic_save
from dtir.core.checkpoint import load_checkpoint, to_cpu
from dtir.core.errors import ConfigError, DtirError
from dtir.measure.complexity import count_parameters
from dtir.models import ConditionedNetwork
from dtir.models.adapters.folding import FixedStep, fold
from dtir.tasks import check_task


def fold_checkpoint(source: str, task: str, target: str) -> tuple[ConditionedNetwork, FixedStep]:
    """Writes the folded checkpoint.

    Args:
        source: A checkpoint written by training, with a time-conditioned network.
        task: The task to fold for.
        target: The file to write.

    Returns:
        The network of the checkpoint and the folded one.

    Raises:
        CheckpointError: The checkpoint cannot be used.
        ConfigError: Its network has no time conditioning, or adapters that cannot be folded.
        TaskError: The checkpoint does not know the task.
    """
    model = load_restorer(source)
    check_task(task, model.tasks)
    network = getattr(model, "network", None)
    if not isinstance(network, ConditionedNetwork):
        raise ConfigError(f"'{source}' has nothing to fold: its network has no time conditioning.")
    t = int(model.timestep_of(torch.tensor(model.tasks.index(task))))
    folded = fold(network, t)
    meta = dict(load_checkpoint(source)["meta"])
    config = {"type": "FixedStep", "backbone": meta["model_cfg"]["network"]["backbone"], **folded.settings()}
    meta["model_cfg"] = {**meta["model_cfg"], "network": config, "tasks": [task]}
    meta["tasks"] = [task]
    state = {f"network.{name}": value for name, value in folded.state_dict().items()}
    atomic_save(to_cpu({"meta": meta, "state_dict": {"matched_t": torch.tensor([t]), **state}}), target)
    return network, folded


def compare(network: ConditionedNetwork, folded: FixedStep) -> tuple[Table, float]:
    """Parameters of both, and the largest difference of their outputs on a picture of noise."""
    x = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        difference = (network(x, torch.tensor([folded.t])) - folded(x)).abs().max().item()
    table = Table("network", "parameters")
    for name, module in (("backbone", network.backbone), ("trained", network), ("folded", folded)):
        table.add_row(name, f"{count_parameters(module):,}")
    return table, difference


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", help="checkpoint written by training")
    parser.add_argument("--task", required=True, help="task to fold for")
    parser.add_argument("--out", required=True, help="file to write")
    add_import_argument(parser)
    args = parser.parse_args()
    try:
        networks = fold_checkpoint(args.checkpoint, args.task, args.out)
    except DtirError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    table, difference = compare(*networks)
    Console().print(table)
    print(f"wrote {args.out} for t = {networks[1].t}; the outputs differ by {difference:.1e} at most")
    return 0


if __name__ == "__main__":
    sys.exit(main())
