"""What the commands print."""

from typing import TYPE_CHECKING

from dtir.core.names import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dtir.apis.archive.folder import Failure, Job, RestoreReport
    from dtir.apis.archive.preview import Preview
    from dtir.apis.restoring.outcome import Outcome


# Pictures that a page of before and after shows.
MOST_SHOWN = 300
LISTED = 20


class Shown:
    """Prints what was found on each picture and done to it, and keeps the first for a page.

    Args:
        wanted: Whether there is to be a page.
    """

    def __init__(self, wanted: bool = False) -> None:
        self.most = MOST_SHOWN if wanted else 0
        self.pictures: list[tuple[Job, Outcome]] = []
        self.number = 0

    def add(self, job: "Job", outcome: "Outcome") -> None:
        """Takes a picture."""
        print("; ".join((f"{printable(job.source)}: {outcome}", *map(printable, outcome.warnings))))
        self.number += 1
        if len(self.pictures) < self.most:
            self.pictures.append((job, outcome))

    @property
    def left_out(self) -> int:
        """Number of pictures that were not kept."""
        return self.number - len(self.pictures)


def print_preview(preview: "Preview") -> None:
    """Prints what a run would do."""
    for (source, target), (width, height) in preview.planned[:LISTED]:
        print(f"{printable(source)} -> {printable(target)}  {width} x {height}")
    if len(preview.planned) > LISTED:
        print(f"... and {len(preview.planned) - LISTED} more")
    size = f"{preview.megapixels:.1f} megapixels, {preview.bytes / 1e6:.1f} MB"
    print(f"{_pictures(len(preview.planned))} to restore: {size}")
    if preview.seconds_per_megapixel is not None:
        rate = f"{preview.seconds_per_megapixel:.2f} s per megapixel, measured on a sample"
        print(f"about {_duration(preview.seconds)} ({rate}); nothing was written")
    _print_rest(preview.skipped, preview.failed)


def _duration(seconds: float) -> str:
    hours, minutes = int(seconds // 3600), int(seconds % 3600 // 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60:.0f} s" if minutes else f"{seconds:.1f} s"


def print_report(report: "RestoreReport", out: str) -> None:
    """Prints what became of every picture of a run: counts, and each failure with its reason."""
    if report.restored or not report.failed:
        print(f"{_pictures(len(report.restored))} restored into {out}")
    if report.left:
        print(f"{_pictures(len(report.left))} left and copied: clean, unclear or blank")
    if report.left_out:
        kinds = ", ".join(
            f"{number} {printable(kind) or 'without extension'}" for kind, number in report.left_out.most_common()
        )
        print(f"{_files(report.left_out.total())} left out, no pictures that are read here: {kinds}")
    _print_rest(report.skipped, report.failed)


def _print_rest(skipped: "Sequence[object]", failed: "Sequence[Failure]") -> None:
    if skipped:
        print(f"{_pictures(len(skipped))} skipped: the output exists; --overwrite writes it anew")
    if failed:
        print_error(f"{len(failed)} failed:")
    for path, reason in failed:
        # Its output may have the same path.
        named = reason.startswith(str(path)) or f"'{path}'" in reason
        print_error(f"  {printable(reason if named else f'{path}: {reason}')}")


def _files(number: int) -> str:
    return f"{number} file" if number == 1 else f"{number} files"


def _pictures(number: int) -> str:
    return f"{number} picture" if number == 1 else f"{number} pictures"


def print_error(text: str) -> None:
    """Prints in red on the standard error stream."""
    from rich.console import Console

    # Paths may hold square brackets, so nothing is markup; soft_wrap keeps them in one piece for copying.
    text = "\n".join(map(printable, text.split("\n")))
    Console(stderr=True, highlight=False).print(text, style="red", markup=False, soft_wrap=True)
