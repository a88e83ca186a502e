"""Progress of many pictures on the terminal: pictures, megapixels, and the time left."""

import os
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from dtir.apis.archive.folder import Job
from dtir.apis.restoring.wish import OnTile
from dtir.core.names import printable


class PictureProgress:
    """A bar over pictures of very different sizes, which counts bytes of their files, and one over a picture's tiles.

    Args:
        jobs: All that is to be done.
        shown: Whether it is shown, where standard error is a terminal.
    """

    def __init__(self, jobs: Sequence[Job], shown: bool) -> None:
        console = Console(stderr=True)
        shown = shown and console.is_terminal
        self.number = len(jobs)
        self.display = Progress(
            # A file name may hold square brackets, which are no markup.
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[count]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not shown,
            transient=True,
        )
        self.bytes, self.pictures, self.pixels = 0, 0, 0
        self.bar = self.display.add_task(
            "pictures", total=sum(map(_size, jobs)) if shown else None, count=self._count()
        )
        self.tiles = self.display.add_task("tiles", visible=False, count="")

    def __enter__(self) -> "PictureProgress":
        self.display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.display.stop()

    def begin(self, job: Job) -> OnTile:
        """Names the picture in work; what it returns is to be called as `on_tile(tiles done, tiles in all)`."""
        self.display.update(self.tiles, description=printable(job.source.name), visible=False)
        size = _size(job)

        def on_tile(done: int, total: int) -> None:
            self.display.update(
                self.tiles, completed=done, total=total, visible=total > 1, count=f"{done}/{total} tiles"
            )
            # Fractions of a picture make the time left known while the first large picture is still in work.
            self.display.update(self.bar, completed=self.bytes + size * done / total)

        return on_tile

    def finish(self, job: Job, pixels: int = 0) -> None:
        """Counts a picture of so many pixels that is done, or failed."""
        self.pictures += 1
        self.pixels += pixels
        self.bytes += _size(job)
        self.display.update(self.bar, completed=self.bytes, count=self._count())

    def _count(self) -> str:
        return f"{self.pictures}/{self.number} pictures, {self.pixels / 1e6:.1f} MP"


def _size(job: Job) -> int:
    try:
        return max(1, os.stat(job.source).st_size)
    except OSError:
        # It will be reported as a failure when its turn comes.
        return 1
