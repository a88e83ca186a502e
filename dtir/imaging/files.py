"""Reading and writing pictures as arrays: RGB, upright, in [0, 1]."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

import cv2
import numpy as np

from dtir.imaging.formats import Format, format_of
from dtir.imaging.opening import Source, open_source, open_stream
from dtir.imaging.outputs import cannot_write, output_file
from dtir.imaging.picture import STRAIGHT, Form, Picture
from dtir.imaging.pillow_files import write_bmp
from dtir.imaging.pnm import write_pnm
from dtir.imaging.quick import decode_rgb
from dtir.imaging.vips import libvips, reason_of
from dtir.imaging.vips_files import write_vips

if TYPE_CHECKING:
    import pyvips


def read_rgb(path: str | os.PathLike) -> np.ndarray:
    """Reads a picture for training or evaluation.

    Grey becomes three equal channels, a palette its colours, CMYK and LAB become RGB, 16 bits are rounded to 8
    (v / 257), the EXIF orientation is applied. Opacity is dropped, not composited: the colours under it are those of
    the photograph. Of several pages the first is read.

    Returns:
        uint8 (H, W, 3), RGB.

    Raises:
        ImageFileError: the file is missing, empty, damaged, no picture, or of a kind that is not restored.
    """
    with open_stream(path, path) as stream:
        return decode_rgb(stream.read(), path)


def read_picture(path: str | os.PathLike) -> Picture:
    """Reads the first page of a file together with what `write_picture` needs to keep its form.

    Raises:
        ImageFileError: the file is missing, empty, damaged, no picture, or of a kind that is not restored.
    """
    return picture_of(open_source(path))


def open_pages(path: str | os.PathLike) -> list[Source]:
    """Opens all pages or frames of a file; only the first where they differ in size, depth or channels.

    Raises:
        ImageFileError: see `read_picture`.
    """
    first = open_source(path)
    sources = [first, *(open_source(path, page=page) for page in range(1, first.pages))]
    return sources if len({_shape(source) for source in sources}) == 1 else [first]


def _shape(source: Source) -> tuple:
    form, pixels = source.form, source.pixels
    return pixels.width, pixels.height, pixels.format, form.peak, form.was_grey, form.extra, form.orientation


def picture_of(source: Source) -> Picture:
    """Decodes an opened file.

    Raises:
        ImageFileError: It is damaged or ends early.
    """
    return picture_from(source.read(), source.form)


def picture_from(pixels: np.ndarray, form: Form) -> Picture:
    """The picture of pixels (H, W, bands) that an opened file of this form holds, see `Source.read`."""
    colours = 1 if form.was_grey else 3
    unit = pixels[:, :, :colours].astype(np.float32) / np.float32(form.peak)
    rgb = np.repeat(unit, 3, axis=2) if form.was_grey else unit
    return Picture(rgb, pixels[:, :, colours:] if form.extra else None, form)


def write_picture(path: str | os.PathLike, picture: Picture, rgb: np.ndarray) -> None:
    """Writes the restored `rgb` in the form of `picture`: depth, greyness, opacity, orientation, metadata.

    The format is that of `path`'s extension; what it cannot hold is left out (`dtir.imaging.contents.losses`). JPEG is
    written at quality 95 without chroma subsampling, WebP and AVIF lossless. The file appears whole or not at all.

    Args:
        path: file to write; its folder is made if needed.
        picture: the picture that was restored.
        rgb: float (H, W, 3) in [0, 1], upright; values outside are clipped. Opacity is resized to another size.

    Raises:
        ImageFileError: the format is unknown, or the folder cannot be written to, or the disk is full.
    """
    form = written_form(picture.form, path)
    pixels = samples(rgb, picture.extra, picture.form.peak, form)
    write_samples(path, [libvips().Image.new_from_array(pixels)], [form])


def written_form(form: Form, path: str | os.PathLike) -> Form:
    """What of a form the format of `path` can hold.

    Raises:
        ImageFileError: The format is unknown.
    """
    kind, extension = format_of(path), Path(path).suffix.lower()
    extra = form.extra if kind.extra else (STRAIGHT,) if form.has_alpha and kind.alpha else ()
    was_grey = {".pgm": True, ".ppm": False}.get(extension, form.was_grey)
    return replace(form, extra=extra, was_grey=was_grey, peak=kind.peak_for(form.peak))


def samples(rgb: np.ndarray, extra: np.ndarray | None, extra_peak: int, form: Form) -> np.ndarray:
    """Restored pixels and the channels beside them as a file holds them.

    Args:
        rgb: float (H, W, 3); values outside [0, 1] are clipped.
        extra: (H, W, K) of 0 to `extra_peak`, K at least that of `form.extra`; of another size, it is resized.
        extra_peak: The value of a full sample of `extra`.
        form: Form of the file that is written.

    Returns:
        uint8 or uint16 (H, W, 1 or 3, and `form.extra`), 0 to `form.peak`.
    """
    dtype = np.uint8 if form.peak < 256 else np.uint16
    colour = np.rint(np.clip(rgb, 0, 1) * form.peak).astype(dtype)
    if form.was_grey:
        colour = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)[:, :, None]
    if not form.extra:
        return colour
    others = _fit(extra[:, :, : len(form.extra)], colour.shape[:2]) * (form.peak / extra_peak)
    return np.dstack((colour, np.rint(others).astype(dtype)))


def _fit(extra: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if extra.shape[:2] == shape:
        return extra
    return cv2.resize(extra, shape[::-1], interpolation=cv2.INTER_LINEAR).reshape(*shape, -1)


def write_samples(path: str | os.PathLike, pages: Sequence["pyvips.Image"], forms: Sequence[Form]) -> None:
    """Writes pages that hold what `forms` say, all of one size and upright.

    Raises:
        ImageFileError: The format is unknown, or the folder cannot be written to, or the disk is full.
    """
    with samples_written(path, pages, forms):
        pass


@contextlib.contextmanager
def samples_written(path: str | os.PathLike, pages: Sequence["pyvips.Image"], forms: Sequence[Form]) -> Iterator[None]:
    """As `write_samples`; the file has its name once the block ends without an error."""
    kind = format_of(path)
    with output_file(path) as file:
        try:
            _write(file, kind, pages, forms)
        except libvips().Error as error:
            _require_room(file)
            raise cannot_write(path, reason_of(error)) from error
        # The disk's time is the writer's, and not that of whoever gives the name.
        file.flush()
        os.fsync(file.fileno())
        yield


def _require_room(file: IO[bytes]) -> None:
    """Raises OSError: The system takes no more of a file. libvips knows that it was refused a write, and not why."""
    os.lseek(file.fileno(), 0, os.SEEK_END)
    # The first one may be taken in part.
    for _ in range(2):
        os.write(file.fileno(), bytes(1 << 16))


def _write(file: IO[bytes], kind: Format, pages: Sequence["pyvips.Image"], forms: Sequence[Form]) -> None:
    if kind.options is not None:
        write_vips(file, pages, forms, kind)
        return
    pixels = pages[0].numpy().reshape(pages[0].height, pages[0].width, -1)
    if kind.name == "BMP":
        write_bmp(file, pixels, forms[0])
    else:
        write_pnm(file, pixels, forms[0].peak)
