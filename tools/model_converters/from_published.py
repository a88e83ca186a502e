"""Turns a published checkpoint into one of dtir, for `dtir restore` or as the start of a training.

    python tools/model_converters/from_published.py restormer deraining.pth restormer.pth
    dtir restore photo.jpg --checkpoint restormer.pth --task rainy --out restored

    CONFIG=configs/dtir/restormer_10task.py
    python tools/model_converters/from_published.py restormer deraining.pth start.pth --config $CONFIG
    python tools/train.py $CONFIG --cfg-options load_from=start.pth

With `--config` the checkpoint is that config's model at iteration 0, with the published weights in its backbone; the
conditioning around it is the identity, and a codec has the weights that the config, or `--codec`, names. Without, it
holds the network alone.
"""

import argparse
import sys

from mmengine.registry import DefaultScope

from dtir import __version__
from dtir.apis.published.loading import read_published
from dtir.cli.importing import add_import_argument
from dtir.cli.launching import load_config
from dtir.core.atomic import atomic_save
from dtir.core.checkpoint import load_state, to_cpu
from dtir.core.errors import ConfigError, DtirError
from dtir.models import Restorer
from dtir.registry import RESTORERS, SCOPE
from dtir.tasks import TASKS


def convert(
    name: str, source: str, target: str, tasks: list[str], config: str | None, codec: str | None = None
) -> Restorer:
    """Writes the checkpoint and returns the model in it.

    Args:
        name: A published setting or a registered class, as for `load_backbone`.
        source: The published checkpoint.
        target: The file to write.
        tasks: What the network restores, when there is no config.
        config: A training config whose model takes the weights.
        codec: File of weights of the config's codec; by default the one that the config names.

    Raises:
        CheckpointError: A file belongs to another network, or the config's backbone has other settings.
        ConfigError: There are weights for a codec, but the config has none that takes weights.
    """
    backbone, state = read_published(name, source)
    if config:
        model_cfg = load_config(config).model.to_dict()
    else:
        model_cfg = {"type": "SupervisedRestorer", "backbone": backbone, "tasks": tasks}
    with DefaultScope.overwrite_default_scope(SCOPE):
        model = RESTORERS.build(model_cfg)
    load_state(model.backbone, state, source)
    _fill_codec(model, codec)
    meta = {"dtir_version": __version__, "model_cfg": model_cfg, "tasks": list(model.tasks), "source": name}
    atomic_save(to_cpu({"meta": meta, "state_dict": model.state_dict()}), target)
    return model


def _fill_codec(model: Restorer, weights: str | None) -> None:
    found = getattr(model, "codec", None)
    if weights is not None:
        if found is None or not found.state_dict():
            raise ConfigError(f"there is no codec that takes '{weights}'; name a config whose model.codec has weights.")
        found.weights = weights
    if found is not None:
        found.init_weights()


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="published setting, such as nafnet_gopro_w32, or a registered class")
    parser.add_argument("source", help="published checkpoint")
    parser.add_argument("target", help="file to write")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=TASKS, metavar="TASK")
    parser.add_argument("--config", help="training config whose model takes the weights")
    parser.add_argument("--codec", help="weights of the config's codec, in place of those it names")
    add_import_argument(parser)
    args = parser.parse_args()
    try:
        convert(args.name, args.source, args.target, args.tasks, args.config, args.codec)
    except DtirError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"wrote {args.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
