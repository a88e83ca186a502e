"""Rows of pictures that are too large for memory: read from files in order, or kept in a file of their own."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dtir.core.errors import ImageFileError
from dtir.imaging.opening import Source, damage_named
from dtir.imaging.tiff_tags import BIG_HEAD, end_plain_file
from dtir.imaging.vips import libvips

if TYPE_CHECKING:
    import pyvips

# So many are read or written at once.
ROWS_AT_ONCE = 64

# Rows `start` to `stop` (exclusive) of a picture, (stop - start, W, channels).
Rows = Callable[[int, int], np.ndarray]


class SourceRows:
    """The samples of an opened file, row by row; must be asked for from top to bottom.

    Args:
        source: Opened in order.
    """

    def __init__(self, source: Source):
        self.source = source
        self._region = libvips().Region.new(source.pixels)
        self._dtype = np.uint8 if source.pixels.format == "uchar" else np.uint16

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """See `Rows`.

        Raises:
            ImageFileError: The file is damaged or ends early.
        """
        image = self.source.pixels
        with damage_named(self.source.origin):
            data = self._region.fetch(0, start, image.width, stop - start)
        return np.frombuffer(data, self._dtype).reshape(stop - start, image.width, image.bands)

    def rgb(self, start: int, stop: int) -> np.ndarray:
        """The colours alone, float32 (stop - start, W, 3) in [0, 1]."""
        form, rows = self.source.form, self(start, stop)
        unit = rows[:, :, : 1 if form.was_grey else 3].astype(np.float32) / np.float32(form.peak)
        return np.repeat(unit, 3, axis=2) if form.was_grey else unit


class RowFile:
    """Rows of one picture in a file that is gone when it is closed.

    Args:
        folder: Where the file lies while it is open.
        width: Width of the picture.
        channels: Channels of the picture.
        dtype: uint8, uint16 or float32.

    Raises:
        ImageFileError: The folder cannot be written to.
    """

    def __init__(self, folder: Path, width: int, channels: int, dtype: np.dtype | type):
        self.width, self.channels, self.dtype = width, channels, np.dtype(dtype)
        self.height = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.NamedTemporaryFile(dir=folder, prefix=".rows.", suffix=".tmp")  # noqa: SIM115
            self._file.write(BIG_HEAD)
        except OSError as error:
            raise ImageFileError(f"cannot write to '{folder}': {error.strerror or error}.") from error

    def append(self, rows: np.ndarray) -> None:
        """Adds rows (N, width, channels) at the bottom.

        Raises:
            ImageFileError: The disk is full.
        """
        try:
            self._file.write(np.ascontiguousarray(rows, self.dtype))
        except OSError as error:
            raise ImageFileError(
                f"no room for {self.width} x {self.height + len(rows)} pixels beside the output: "
                f"{error.strerror or error}."
            ) from error
        self.height += len(rows)

    def __call__(self, start: int, stop: int) -> np.ndarray:
        """See `Rows`; in any order."""
        rows = np.empty((stop - start, self.width, self.channels), self.dtype)
        self._file.flush()
        os.preadv(self._file.fileno(), [rows.data.cast("B")], len(BIG_HEAD) + rows[:1].nbytes * start)
        return rows

    def as_image(self) -> "pyvips.Image":
        """The rows as an image that is read when it is written; no more are added, and the file stays open until then.

        As a TIFF file: libvips would map raw samples into memory as a whole.
        """
        end_plain_file(self._file, self.height, self.width, self.channels, self.dtype, ROWS_AT_ONCE)
        vips = libvips()
        return vips.Image.new_from_source(
            vips.Source.new_from_file(os.fsencode(self._file.name)), "", access="sequential"
        )

    def close(self) -> None:
        """Gives the file's room back."""
        self._file.close()
