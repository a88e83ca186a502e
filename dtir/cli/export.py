"""`dtir export`: writes a model for other runtimes. Heavy modules are imported when the command runs."""

import argparse
from pathlib import Path

from dtir.apis.restoring.wish import AUTO
from dtir.cli.importing import add_import_argument
from dtir.core.atomic import require_writable

HELP = "write a model as ONNX, TorchScript or for OpenVINO"
DESCRIPTION = (
    "Writes a model for other runtimes, with batch, height and width of any size. With one task its step is a constant "
    "and its adapters are folded; with auto the step is an input, and the estimator becomes a second file, "
    "NAME.estimator. The result is compared with PyTorch on several sizes, and not written where it differs by more "
    "than 1e-4."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `dtir export`."""
    parser.add_argument("out", metavar="OUT", help="file to write: .onnx, .torchscript, .xml or .safetensors")
    parser.add_argument("--model", metavar="NAME|FILE|FOLDER", help="as of dtir restore (default: universal)")
    parser.add_argument("--task", default=AUTO, metavar="NAME", help="one task of the model, or auto for all (default)")
    parser.add_argument(
        "--to",
        required=True,
        choices=("onnx", "torchscript", "openvino", "safetensors"),
        help="kind of file; safetensors is a model file of dtir for one task, its adapters folded",
    )
    parser.add_argument("--name", help="what the model is called (default: the file's name)")
    parser.add_argument("--licence", default="", help="of the weights (default: what the model file says)")
    add_import_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Runs `dtir export`; returns 0.

    Raises:
        DtirError: See `dtir.apis.export.writing.export_model`.
    """
    from dtir.apis.models.names import find_model

    # Said before anything heavy is imported.
    model = find_model(args.model)
    require_writable(args.out, "OUT")
    from dtir.apis.export.writing import check_export, export_model
    from dtir.apis.models.build import load_restorer
    from dtir.apis.models.files import is_model_file, read_facts

    check_export(Path(args.out), args.to)
    licence = args.licence or (read_facts(model).licence if is_model_file(model) else "")
    done = export_model(load_restorer(model), args.out, args.to, args.task, args.name, licence)
    print(f"wrote {', '.join(map(str, done.files))}: {', '.join(done.tasks)}")
    for note in done.notes:
        print(note)
    print(f"at most {done.difference:.1e} from PyTorch, of pictures in [0, 1], on pictures of several sizes")
    return 0
