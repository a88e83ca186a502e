"""Pictures of the page: taken in within limits, restored from file to file, shown as small copies."""

import math
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from dtir.apis.archive.attempt import failure_of
from dtir.apis.archive.folder import Job, output_names, plan_jobs
from dtir.apis.restoring.wish import OnTile
from dtir.core.atomic import atomic_write
from dtir.core.errors import ConfigError, DtirError, ImageFileError
from dtir.imaging.files import open_pages
from dtir.imaging.thumbnails import jpeg_thumbnail

if TYPE_CHECKING:
    from dtir.apis.inferencer import RestorationInferencer
    from dtir.apis.restoring.wish import Wish

WAITING, WORKING, RESTORED, LEFT, FAILED = "waiting", "in work", "restored", "left as it is", "failed"
# Longer side of what the page shows of a picture, in pixels, and the quality of its JPEG.
_SHOWN_SIDE, _SHOWN_QUALITY = 1600, 95
_NAMES = output_names(suffix="_restored")


@dataclass(frozen=True)
class Limits:
    """What the page takes of one file.

    Attributes:
        megapixels: Size of all its pages together, in millions of pixels.
        megabytes: Size of the file, in units of 2**20 bytes; what is uploaded is held to it while it comes.

    Raises:
        ConfigError: One is not above 0.
    """

    megapixels: float = 100.0
    megabytes: float = 200.0

    def __post_init__(self) -> None:
        for option, value in (("--max-megapixels", self.megapixels), ("--max-mb", self.megabytes)):
            if not 0 < value < math.inf:
                raise ConfigError(f"{option} {value:g} is no limit; take a number above 0.")

    @property
    def bytes(self) -> int:
        """The most bytes that a file may have."""
        return int(self.megabytes * 2**20)

    def check_pixels(self, path: Path) -> None:
        """Refuses a picture of too many pixels before it is decoded.

        Raises:
            ImageFileError: It has too many, or is no picture.
        """
        pixels = sum(page.pixels.width * page.pixels.height for page in open_pages(path)) / 1e6
        if pixels > self.megapixels:
            raise ImageFileError(
                f"'{path}' has {pixels:.3g} megapixels, and this page takes {self.megapixels:g} at most: restore it "
                "with dtir restore, or start the page with a larger --max-megapixels."
            )


@dataclass(eq=False)
class Picture:
    """A picture in the queue.

    Attributes:
        job: The uploaded file, and the one that is written.
        before: A small copy of the first, for the page.
        size: Size of the whole picture upright, width and height in pixels.
        state: `WAITING`, `WORKING`, `RESTORED`, `LEFT` or `FAILED`.
        text: What was found and done, or why it failed.
        after: A small copy of the restored picture; None where there is none.
        mask: White where the picture was painted on, of its size; None where it was not.
        done_with: Wish and mask of the last restoration.
    """

    job: Job
    before: Path
    size: tuple[int, int]
    state: str = WAITING
    text: str = ""
    after: Path | None = None
    mask: Path | None = None
    done_with: "tuple[Wish, bytes] | None" = None

    @property
    def done(self) -> bool:
        """Whether there is an output."""
        return self.state in (RESTORED, LEFT)

    @property
    def name(self) -> str:
        """The name of the uploaded file."""
        return self.job.source.name

    def paint(self, opacity: np.ndarray | None) -> None:
        """Makes what was painted the mask.

        Args:
            opacity: Opacity of the paint over `before`, uint8 (H, W); where it is above 127, pixels are missing. None,
                or no such pixel, is no mask.
        """
        self.mask = None
        if opacity is None or not (opacity > 127).any():
            return
        white = cv2.resize(np.uint8(opacity > 127) * 255, self.size, interpolation=cv2.INTER_NEAREST)
        _, data = cv2.imencode(".png", white)
        self.mask = self.before.with_name("mask.png")
        with atomic_write(self.mask) as file:
            file.write(data.tobytes())

    def awaits(self, wish: "Wish") -> bool:
        """Whether a restoration would give something else than there is."""
        return not self.done or self.done_with != (wish, self._painted())

    def begin(self) -> None:
        """Forgets what was done before."""
        self.state, self.after, self.text = WORKING, None, ""

    def restore(self, inferencer: "RestorationInferencer", wish: "Wish", on_tile: OnTile | None = None) -> None:
        """Restores the file by the code of `dtir restore`; where that fails, `text` says why."""
        self.begin()
        try:
            restorer = inferencer.file_restorer(wish, self.mask, overwrite=True)
            restorer.check()
            outcome = restorer(*self.job, on_tile)
            self.after = _show(self.job.target, self.before.with_name("after.jpg"))
        except Exception as error:
            failure = failure_of(self.job, error)
            if failure is None:
                raise
            self.fail(failure.reason)
            return
        self.text = "; ".join((str(outcome), *outcome.warnings))
        self.state, self.done_with = RESTORED if outcome.changed else LEFT, (wish, self._painted())

    def fail(self, reason: str) -> None:
        """Says that it was not restored, and why."""
        self.state, self.text = FAILED, said(reason, self.job.source)

    def remove(self) -> None:
        """Removes all files that were made for it."""
        shutil.rmtree(self.before.parent, ignore_errors=True)

    def _painted(self) -> bytes:
        return b"" if self.mask is None else self.mask.read_bytes()


def take_in(path: Path, folder: Path, limits: Limits) -> Picture:
    """Puts an uploaded file into the queue.

    Args:
        path: The file.
        folder: Where a folder for what is made of it is made.
        limits: What is taken.

    Raises:
        ImageFileError: It is too large, damaged or no picture; the message calls it by its name alone.
    """
    own = Path(tempfile.mkdtemp(dir=folder))
    try:
        plan = plan_jobs(path, own, names=_NAMES)
        if plan.failed:
            raise ImageFileError(plan.failed[0].reason)
        limits.check_pixels(path)
        pixels = open_pages(path)[0].pixels
        return Picture(plan.jobs[0], _show(path, own / "before.jpg"), (pixels.width, pixels.height))
    except DtirError as error:
        shutil.rmtree(own)
        raise ImageFileError(said(str(error), path)) from error


def said(reason: str, path: Path) -> str:
    """A reason that calls the file by its name, as whoever uploaded it does."""
    return reason.replace(str(path), path.name)


def _show(path: Path, target: Path) -> Path:
    data = jpeg_thumbnail(path, _SHOWN_SIDE, _SHOWN_QUALITY)
    with atomic_write(target) as file:
        file.write(data)
    return target
