"""What the commands print."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dtir.apis.folder import Job, RestoreReport


def print_outcome(job: "Job", outcome: object) -> None:
    """Prints what was found on a picture and done to it."""
    print("; ".join((f"{job.source}: {outcome}", *outcome.warnings)))


def print_report(report: "RestoreReport", out: str) -> None:
    """Prints what became of every picture of a run: counts, and each failure with its reason."""
    print(f"{_pictures(len(report.restored))} restored into {out}")
    if report.skipped:
        print(f"{_pictures(len(report.skipped))} skipped: the output exists; --overwrite writes it anew")
    if report.left_out:
        kinds = ", ".join(f"{number} {kind or 'without extension'}" for kind, number in report.left_out.most_common())
        print(f"{_files(report.left_out.total())} left out, no pictures that are read here: {kinds}")
    if report.failed:
        print_error(f"{len(report.failed)} failed:")
    for path, reason in report.failed:
        print_error(f"  {reason}" if str(path) in reason else f"  {path}: {reason}")


def _files(number: int) -> str:
    return f"{number} file" if number == 1 else f"{number} files"


def _pictures(number: int) -> str:
    return f"{number} picture" if number == 1 else f"{number} pictures"


def print_error(text: str) -> None:
    """Prints in red on the standard error stream."""
    from rich.console import Console

    # Paths may hold square brackets, so nothing is markup; soft_wrap keeps them in one piece for copying.
    Console(stderr=True, highlight=False).print(text, style="red", markup=False, soft_wrap=True)
