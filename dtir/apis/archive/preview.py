"""What a run over many files would do: sizes from the files' headers, seconds from a measured sample."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from dtir.apis.archive.folder import Failure, Job
from dtir.apis.restoring.arrays import to_image
from dtir.apis.restoring.file_restoring import FileRestorer
from dtir.core.errors import ImageFileError
from dtir.imaging.files import read_picture
from dtir.imaging.opening import open_source

# Of a larger picture this much of its middle is measured.
SAMPLE_SIDE = 1024


class Planned(NamedTuple):
    """A picture that would be restored, with its width and height in pixels."""

    job: Job
    size: tuple[int, int]


class Preview(NamedTuple):
    """What would be done.

    Attributes:
        planned: Pictures that would be restored.
        skipped: Pictures whose outputs stay.
        failed: Inputs that could not be restored.
        bytes: Bytes of the files of `planned`.
        seconds_per_megapixel: As measured, in one process; None where nothing is to be done.
        jobs: Processes that would share the work.
    """

    planned: list[Planned]
    skipped: list[Job]
    failed: list[Failure]
    bytes: int
    seconds_per_megapixel: float | None
    jobs: int

    @property
    def megapixels(self) -> float:
        """Megapixels of all pictures that would be restored."""
        return sum(width * height for _, (width, height) in self.planned) / 1e6

    @property
    def seconds(self) -> float:
        """That it would take, as far as the sample tells."""
        return self.megapixels * (self.seconds_per_megapixel or 0.0) / self.jobs


def preview_jobs(
    todo: Sequence[Job], skipped: Sequence[Job], failed: Sequence[Failure], restorer: FileRestorer, jobs: int
) -> Preview:
    """Reads the headers of all pictures and restores a few, in memory."""
    planned, unreadable = [], []
    for job in todo:
        try:
            planned.append(Planned(job, _size(job.source)))
        except (ImageFileError, OSError) as error:
            unreadable.append(Failure(job.source, str(error)))
    rate, damaged = _measured(planned, restorer)
    broken = {failure.path for failure in damaged}
    planned = [one for one in planned if one.job.source not in broken]
    size = sum(job.source.stat().st_size for job, _ in planned)
    return Preview(planned, [*skipped], [*failed, *unreadable, *damaged], size, rate, jobs)


def _size(path: Path) -> tuple[int, int]:
    pixels = open_source(path).pixels
    return pixels.width, pixels.height


def _measured(planned: Sequence[Planned], restorer: FileRestorer) -> tuple[float | None, list[Failure]]:
    """Seconds per megapixel of the smallest, the middle and the largest picture; and those of them that fail."""
    by_size = sorted(planned, key=lambda one: one.size[0] * one.size[1])
    chosen = {0, len(by_size) // 2, len(by_size) - 1} if by_size else ()
    seconds, pixels, failed = 0.0, 0, []
    for number in sorted(chosen):
        source = by_size[number].job.source
        try:
            image, taken = _timed(source, restorer)
        except ImageFileError as error:
            failed.append(Failure(source, str(error)))
            continue
        seconds += taken
        pixels += image.shape[-1] * image.shape[-2]
    return seconds / pixels * 1e6 if pixels else None, failed


def _timed(source: Path, restorer: FileRestorer) -> tuple[Tensor, float]:
    """The middle of a picture, and the seconds that its restoration takes."""
    image = _middle(to_image(read_picture(source).rgb))
    mask = None if restorer.mask is None else _middle(restorer.mask)
    start = time.perf_counter()
    restorer.passes.restore(image, restorer.wish, mask)
    return image, time.perf_counter() - start


def _middle(image: Tensor) -> Tensor:
    top, left = (max(0, (length - SAMPLE_SIDE) // 2) for length in image.shape[-2:])
    return image[..., top : top + SAMPLE_SIDE, left : left + SAMPLE_SIDE].contiguous()
