"""`dtir models`: lists the models that are there, and packs a checkpoint into a model file."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dtir.apis.models.files import ModelFacts, read_facts, write_model_file
from dtir.cli.importing import add_import_argument
from dtir.cli.numbers import natural
from dtir.core.errors import CheckpointError

if TYPE_CHECKING:
    from dtir.apis.models.index import Listed

HELP = "list the models, or pack a checkpoint into one"
DESCRIPTION = (
    "Without an action, lists the models that --model knows by name: those of the package, and those of the index that "
    "$DTIR_MODEL_INDEX names (a path or a URL)."
)
# Arguments that give numbers to damages: name, what the number is, help.
BY_TASK = (
    ("--odds", "FACTOR", "multiply the estimator's odds of a damage: below 1 it takes more evidence to name it"),
    ("--glance-odds", "FACTOR", "the same of the glance's odds, which those of the estimator do not touch"),
    (
        "--trials",
        "SHARE",
        "have auto try out a damage on a small copy where the estimator names no more, and restore the picture "
        "where so much of its unevenness is gone then: shadowed=0.6, for shadows on an even ground",
    ),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `dtir models`."""
    parser.set_defaults(action=_list)
    actions = parser.add_subparsers(metavar="[ACTION]")
    pack = actions.add_parser(
        "pack",
        help="write a model file from a checkpoint",
        description="Writes a checkpoint's weights, config, tasks, time steps and estimator into one safetensors file.",
    )
    pack.add_argument("checkpoint", metavar="CHECKPOINT", help="checkpoint of a training, or a model file")
    pack.add_argument("file", metavar="FILE", help="the file to write, which ends in .safetensors")
    pack.add_argument("--estimator", metavar="CKPT", help="take the estimator of this checkpoint instead")
    pack.add_argument("--glance", metavar="CKPT", help="give the estimator the glance of this training")
    pack.add_argument(
        "--least-confidence",
        type=float,
        metavar="P",
        help="probability below which the estimator does not know and auto leaves a picture alone (default: its own)",
    )
    pack.add_argument(
        "--least-of-two",
        type=float,
        metavar="P",
        help="probability of the two likeliest damages together from which on auto restores the likelier all the same, "
        "as a picture may have both (default: its own)",
    )
    for name, number, help_text in BY_TASK:
        pack.add_argument(name, type=_of_task, nargs="+", default=[], metavar=f"TASK={number}", help=help_text)
    pack.add_argument(
        "--flips-up-to",
        type=natural,
        metavar="PIXELS",
        help="have pictures of up to so many pixels restored as the mean over their 4 flips (default: as it is)",
    )
    pack.add_argument("--name", help="what the model is called (default: the file's name)")
    pack.add_argument("--description", default="", help="one line for people")
    pack.add_argument("--licence", default="", help="under which the weights may be used, such as Apache-2.0")
    pack.add_argument("--full", action="store_true", help="store 32-bit weights; 16 bits by default")
    add_import_argument(pack)
    pack.set_defaults(action=_pack)
    index = actions.add_parser(
        "index",
        help="write the index of a folder of model files",
        description="Writes index.json beside the model files of a folder, with their checksums, sizes and licences.",
    )
    index.add_argument("folder", metavar="FOLDER", help="folder of .safetensors files, to be put on a server as it is")
    index.set_defaults(action=_index)


def run(args: argparse.Namespace) -> int:
    """Runs `dtir models`; returns 0.

    Raises:
        CheckpointError: A file cannot be read or written.
    """
    args.action(args)
    return 0


def _list(args: argparse.Namespace) -> None:
    from dtir.apis.models.index import listed_models
    from dtir.apis.models.names import PACKAGED, packaged_models

    models = packaged_models()
    for path in models.values():
        print(_described(read_facts(path), path), flush=True)
    listed = listed_models()
    for model in listed.values():
        print(_described_listed(model))
    if not (models or listed):
        print(f"no models are installed ({PACKAGED}); --model FILE takes one of your own")


def _index(args: argparse.Namespace) -> None:
    from dtir.apis.models.index import INDEX_VARIABLE, write_index

    print(f"wrote {write_index(args.folder)}; {INDEX_VARIABLE}=PATH_OR_URL of it makes its models known by name")


def _described(model: ModelFacts, path: Path) -> str:
    blind = "with its estimator (--task auto)" if model.estimator else "without an estimator"
    card = path.with_suffix(".md")
    lines = [
        f"{model.name}  {model.description}".rstrip(),
        f"  tasks: {', '.join(model.damages)}; {blind}",
        f"  {model.parameters / 1e6:.2f} M parameters, {model.size / 1e6:.1f} MB",
        f"  licence: {model.licence or 'not stated'}",
        f"  file: {path}",
        *([f"  card: {card}"] if card.is_file() else []),
    ]
    return "\n".join(lines)


def _described_listed(model: "Listed") -> str:
    lines = [
        f"{model.name}  {model.description}".rstrip(),
        f"  tasks: {', '.join(model.tasks)}",
        f"  {model.parameters / 1e6:.2f} M parameters, {model.size / 1e6:.1f} MB",
        f"  licence: {model.licence or 'not stated'}",
        f"  file: {model.kept if model.kept.is_file() else f'{model.file} (downloaded when it is first used)'}",
    ]
    return "\n".join(lines)


def _pack(args: argparse.Namespace) -> None:
    from dtir.apis.models.build import load_restorer
    from dtir.apis.models.packing import average_small, weigh_classes, with_estimator, with_glance, with_trials

    restorer = load_restorer(args.checkpoint)
    with_estimator(restorer, args.estimator, args.least_confidence, args.least_of_two)
    if args.glance is not None:
        with_glance(restorer, args.glance)
    if args.odds:
        if restorer.estimator is None:
            raise CheckpointError(f"'{args.checkpoint}' has no estimator of the task, which --odds is of.")
        weigh_classes(restorer.estimator, dict(args.odds))
    if args.glance_odds:
        glance = getattr(restorer.estimator, "glance", None)
        if glance is None:
            raise CheckpointError(
                f"'{args.checkpoint}' has no glance, which --glance-odds is of; --glance gives it one."
            )
        weigh_classes(glance, dict(args.glance_odds))
    if args.trials:
        with_trials(restorer, dict(args.trials))
    if args.flips_up_to is not None:
        average_small(restorer, args.flips_up_to)
    facts = write_model_file(args.file, restorer, args.name, args.description, args.licence, half=not args.full)
    print(_described(facts, Path(args.file)))


def _of_task(text: str) -> tuple[str, float]:
    task, equals, number = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"'{text}' is not of the form TASK=NUMBER, such as noisy=0.5")
    return task, float(number)
