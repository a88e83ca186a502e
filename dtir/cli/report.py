"""`dtir report`: one HTML page of a training."""

import argparse

from dtir.core.errors import ConfigError

HELP = "make one HTML page of a training"
DESCRIPTION = (
    "Makes one HTML page of a training's work folder: curves, tables, charts and pictures. The page needs no other "
    "file and no network; what the folder does not hold is named on it."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `dtir report`."""
    parser.add_argument("work_dir", metavar="WORK_DIR", help="work folder of a training")
    parser.add_argument("--out", metavar="FILE", help="the page (default: report.html in the work folder)")
    parser.add_argument(
        "--compare",
        type=_named_folder,
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="work folder of another run to show beside this one; may be given several times",
    )


def _named_folder(text: str) -> tuple[str, str]:
    name, _, folder = text.partition("=")
    if not name or not folder:
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=DIR, such as baseline=work_dirs/baseline")
    return name, folder


def run(args: argparse.Namespace) -> int:
    """Runs `dtir report`; returns 0.

    Raises:
        DtirError: See `write_run_report`; or two runs are of one name.
    """
    from dtir.evaluation.reports.run.report import write_run_report

    names = [name for name, _ in args.compare]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(f"--compare: the name {', '.join(repeated)} is given more than once.")
    print(f"report: {write_run_report(args.work_dir, args.out, dict(args.compare))}")
    return 0
