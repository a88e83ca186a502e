"""Facts about many pictures, over a process pool with progress and time left."""

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from dtir.core.errors import ImageFileError
from dtir.imaging.files import read_rgb
from dtir.imaging.listing import path_list

_CHUNK = 16


@dataclass(frozen=True)
class PictureFacts:
    """What is known of a picture file.

    Attributes:
        error: Why it cannot be read, None if it can; then the other facts are empty.
        width: In pixels.
        height: In pixels.
        bytes: Size of the file.
        sha256: Checksum of the file.
        content: Checksum of size and pixels, equal for two files that show the same picture.
        average_hash: 64 bits, which of 8x8 cells are brighter than the mean; near copies differ in few.
    """

    error: str | None = None
    width: int = 0
    height: int = 0
    bytes: int = 0
    sha256: str = ""
    content: str = ""
    average_hash: int = 0


def scan_picture(path: Path) -> PictureFacts:
    """Reads a picture file."""
    try:
        rgb = read_rgb(path)
        data = path.read_bytes()
    except ImageFileError as error:
        return PictureFacts(error=str(error))
    height, width = rgb.shape[:2]
    content = hashlib.sha256(f"{width}x{height}".encode() + rgb.tobytes()).hexdigest()
    return PictureFacts(None, width, height, len(data), hashlib.sha256(data).hexdigest(), content, average_hash(rgb))


def average_hash(rgb: np.ndarray) -> int:
    """The 64-bit average hash of uint8 (H, W, 3)."""
    cells = cv2.resize(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (8, 8), interpolation=cv2.INTER_AREA)
    return int.from_bytes(np.packbits(cells > cells.mean()).tobytes(), "big")


def scan_all(paths: Iterable[Path], workers: int, title: str) -> dict[Path, PictureFacts]:
    """Reads many picture files.

    Args:
        paths: The files.
        workers: Processes; few files are read in this one.
        title: What the progress bar says.
    """
    paths = list(dict.fromkeys(path_list(paths)))
    if workers < 2 or len(paths) <= _CHUNK:
        with progress(title, len(paths)) as advance:
            return {path: _scan_and_advance(path, advance) for path in paths}
    chunks = [paths[start : start + _CHUNK] for start in range(0, len(paths), _CHUNK)]
    facts: dict[Path, PictureFacts] = {}
    with ProcessPoolExecutor(workers, initializer=cv2.setNumThreads, initargs=(0,)) as pool:
        # The workers start before the progress bar's thread does: a fork copies no other thread.
        futures = [pool.submit(_scan_chunk, chunk) for chunk in chunks]
        with progress(title, len(paths)) as advance:
            for future in as_completed(futures):
                found = future.result()
                facts.update(found)
                advance(len(found))
    return {path: facts[path] for path in paths}


@contextlib.contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar with count and time left on an interactive terminal; gives the function that advances it."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda steps: bar.advance(task, steps)


def _scan_and_advance(path: Path, advance: Callable[[int], None]) -> PictureFacts:
    facts = scan_picture(path)
    advance(1)
    return facts


def _scan_chunk(paths: Sequence[Path]) -> dict[Path, PictureFacts]:
    return {path: scan_picture(path) for path in paths}
