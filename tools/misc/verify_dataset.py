"""Verifies prepared data sets: counts, partners, sizes, duplicates, damage, leaks from test to training.

    python tools/misc/verify_dataset.py data
    python tools/misc/verify_dataset.py data --benchmark lol_v1 --checksums

Prints a table and what was found, and ends with code 1 if there is a problem. Notices, such as test pictures that look
like training pictures, are no problems. docs/datasets.md says which findings are known of the published sets.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from dtir.cli.numbers import positive_int
from dtir.core.cores import usable_cores
from dtir.core.errors import DtirError
from dtir.datasets.benchmarks import BENCHMARKS, get_benchmark
from dtir.datasets.benchmarks.verify import CHECKS, SetReport, verify
from dtir.datasets.pairing import some

_UNLIMITED = 1000


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", metavar="ROOT", help="folder that prepare.py wrote to")
    parser.add_argument("--benchmark", metavar="NAME", help=f"only this one: {', '.join(BENCHMARKS)}")
    parser.add_argument("--checksums", action="store_true", help="compare every file with the manifest")
    parser.add_argument("--workers", type=positive_int, default=usable_cores(), help="processes (all cores)")
    args = parser.parse_args(argv)
    return args


def table(reports: Sequence[SetReport]) -> Table:
    """A row a set, a column for each check that found something anywhere: the number of its findings."""
    found = [check for check in CHECKS[1:] if any(report.problems[check] for report in reports)]
    shown = Table(title="data sets")
    # Where it is narrow, names are broken before numbers are.
    for column in ("set", "benchmark"):
        shown.add_column(column, overflow="fold")
    for column in ("pairs", "expected", *found, "notices", "result"):
        shown.add_column(column, justify="right", no_wrap=True)
    for report in reports:
        expected = "/".join(map(str, report.expected)) or "?"
        counts = [str(len(report.problems[check]) or "-") for check in found]
        result = "ok" if report.is_right else "problems"
        name = report.benchmark or "?"
        shown.add_row(
            report.folder, name, str(report.pairs), expected, *counts, str(len(report.notices) or "-"), result
        )
    return shown


def findings(report: SetReport) -> list[str]:
    """Lines on one set, up to five findings each."""
    lines = [f"{report.folder}: {check}: {some(found)}" for check, found in report.problems.items() if found]
    return lines + ([f"{report.folder}: notice: {some(report.notices)}"] if report.notices else [])


def main(argv: Sequence[str] | None = None) -> int:
    """Verifies; returns the exit code: 0 all right, 1 problems, 2 a user's error."""
    args = parse(argv)
    try:
        only = get_benchmark(args.benchmark) if args.benchmark else None
        reports = verify(Path(args.root), BENCHMARKS, only, args.checksums, args.workers)
    except DtirError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    console = Console()
    # A file or a pipe has no width that the table must fit.
    (console if console.is_terminal else Console(width=_UNLIMITED)).print(table(reports))
    for report in reports:
        for line in findings(report):
            print(line)
    is_right = all(report.is_right for report in reports)
    print("no problems" if is_right else "there are problems")
    return 0 if is_right else 1


if __name__ == "__main__":
    sys.exit(main())
