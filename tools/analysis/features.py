"""Features of the validation pictures by degradation, before and after the method, for `dtir report`.

    python tools/analysis/features.py CONFIG --before iter_500.pth --after iter_3850.pth --work-dir work_dirs/NAME

Keep the checkpoint before the method, such as that at the end of pre-training, with
`default_hooks.checkpoint.max_keep=100`. Writes `report/embedding.json` into the work folder.
"""

import argparse
import sys
from pathlib import Path

import torch
from mmengine.registry import DefaultScope
from rich.console import Console

from dtir.apis.models.build import load_restorer
from dtir.cli.importing import add_import_argument
from dtir.cli.launching import load_config
from dtir.cli.numbers import positive_int
from dtir.core.errors import ConfigError, DtirError
from dtir.evaluation.reports.run.embedding import crops_of, deepest_block, feature_map, pooled_features, write_embedding
from dtir.models import Restorer
from dtir.registry import DATASETS, SCOPE


def steps_of(model: Restorer, chosen: str) -> tuple[torch.Tensor, str]:
    """The steps (tasks,) that both networks are given, and what they are in words.

    With t = 0 everywhere the features tell degradations apart by the picture alone; with the matched steps, t tells
    the network as well, as it does in restoring.
    """
    if chosen == "zero":
        return torch.zeros(len(model.tasks), dtype=torch.long), "with t = 0 for every picture"
    return model.timestep_of(torch.arange(len(model.tasks))), "with the matched time step of each task"


def collect(args: argparse.Namespace) -> Path:
    """Writes the maps of both checkpoints; returns the file.

    Raises:
        DtirError: Whatever is the user's to mend.
    """
    cfg = load_config(args.config, args.cfg_options, args.work_dir)
    before, after = load_restorer(args.before), load_restorer(args.after)
    if before.tasks != after.tasks:
        raise ConfigError(f"'{args.before}' and '{args.after}' are of other tasks: {before.tasks}, {after.tasks}.")
    with DefaultScope.overwrite_default_scope(SCOPE):
        crops = crops_of(DATASETS.build(cfg.val_dataloader.dataset), args.size, args.crops)
    steps, words = steps_of(after, args.steps)
    block = args.block or deepest_block(after)
    maps = [
        feature_map(title, pooled_features(model, crops, steps, block), crops)
        for title, model in (
            (f"before ({Path(args.before).stem})", before),
            (f"after ({Path(args.after).stem})", after),
        )
    ]
    for item in maps:
        print(f"{item['title']}: {item['purity']:.1%} of {len(item['groups'])} crops beside their own task")
    return write_embedding(Path(cfg.work_dir) / "report", maps, after.tasks, block, words)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", help="config file, for its validation pictures")
    parser.add_argument("--before", required=True, metavar="CKPT", help="checkpoint before the method")
    parser.add_argument("--after", required=True, metavar="CKPT", help="checkpoint after it")
    parser.add_argument("--work-dir", metavar="DIR", help="work folder to write to (default: that of the config)")
    parser.add_argument("--block", metavar="NAME", help="block of the backbone (default: the deepest)")
    parser.add_argument(
        "--steps", choices=("zero", "matched"), default="zero", help="time steps given to both (default: zero)"
    )
    parser.add_argument("--size", type=positive_int, default=64, help="height and width of a crop (default 64)")
    parser.add_argument("--crops", type=positive_int, default=16, help="most crops of a picture (default 16)")
    parser.add_argument("--cfg-options", nargs="+", default=[], metavar="KEY=VALUE", help="set keys of the config")
    add_import_argument(parser)
    args = parser.parse_args()
    try:
        print(collect(args))
    except DtirError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
