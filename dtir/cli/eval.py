"""`dtir eval`: measures a folder of pictures against a folder of GTs."""

import argparse

from dtir.cli.importing import add_import_argument

HELP = "measure a folder of pictures against a folder of GTs"
DESCRIPTION = (
    "Measures every picture of FOLDER against the one of GT_FOLDER that has its name, without a model or a config. "
    "Sub-folders, such as one per task, become rows of the table. --out writes the tables as Markdown, LaTeX, CSV and "
    "JSON, and the values of every picture."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `dtir eval`."""
    parser.add_argument("folder", metavar="FOLDER", help="folder of restored pictures")
    parser.add_argument("gt_folder", metavar="GT_FOLDER", help="folder of their GTs")
    parser.add_argument("--lq", metavar="DIR", help="folder of the degraded pictures, to count the gain from")
    parser.add_argument(
        "--protocol", default="rgb", metavar="NAME", help="how to measure (default rgb): docs/testing.md"
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=["PSNR", "SSIM"],
        metavar="METRIC",
        help="registered metrics, and those of pyiqa by its names (default PSNR SSIM); NAME:PROTOCOL gives one its own "
        "protocol",
    )
    parser.add_argument(
        "--sets", nargs="+", default=[], metavar="METRIC", help="pyiqa's metrics of sets of pictures, such as fid"
    )
    parser.add_argument(
        "--pristine",
        metavar="FILE",
        help="NIQE's model of pristine pictures (default: torch's hub cache): docs/testing.md",
    )
    parser.add_argument("--pairing", default="same", metavar="RULE", help="how names match: docs/datasets.md")
    parser.add_argument("--out", metavar="DIR", help="write the tables and the value of each picture into this folder")
    add_import_argument(parser)


def run(args: argparse.Namespace) -> int:
    """Runs `dtir eval`; returns 0.

    Raises:
        DtirError: Whatever is the user's to mend.
    """
    from rich.console import Console
    from rich.progress import track

    from dtir.core.atomic import require_writable_folder
    from dtir.evaluation.folders import build_metrics, evaluate_folder
    from dtir.evaluation.metrics.iqa import set_metric
    from dtir.evaluation.render import terminal_table
    from dtir.evaluation.reports.comparison import write_test_report
    from dtir.evaluation.reports.tables import measured_lines, result_grid
    from dtir.evaluation.results import with_gain

    if args.out:
        require_writable_folder(args.out, "--out")
    errors = Console(stderr=True)
    metrics = build_metrics(args.metrics, args.protocol, args.pristine)
    report = evaluate_folder(
        args.folder,
        args.gt_folder,
        metrics,
        args.lq,
        args.pairing,
        lambda pictures: track(pictures, "measuring", console=errors, transient=True),
    )
    console = Console()
    console.print(terminal_table(result_grid(with_gain(report.table()))))
    for line in measured_lines(report.measures):
        console.print(line, markup=False, highlight=False)
    for name in args.sets:
        value = set_metric(name)(args.folder, args.gt_folder)
        console.print(f"- {name} of the two folders: {value:.4f}", markup=False, highlight=False)
    if args.out:
        write_test_report(args.out, report)
        console.print(f"tables and pictures.csv: {args.out}", markup=False, soft_wrap=True)
    return 0
