"""Opening picture files: whatever they hold becomes upright samples, grey or RGB and the channels beside them."""

import contextlib
import io
import os
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from dtir.core.errors import ImageFileError
from dtir.imaging import pillow_files, vips_files
from dtir.imaging.formats import IMAGE_EXTENSIONS
from dtir.imaging.listing import is_broken_link
from dtir.imaging.picture import Form
from dtir.imaging.png_chunks import SIGNATURE as PNG_SIGNATURE
from dtir.imaging.png_chunks import kept_chunks
from dtir.imaging.pnm import MAGIC as PNM_MAGIC
from dtir.imaging.tiff_tags import PHOTOMETRIC, SAMPLE_BITS, TIFF_SIGNATURES, read_tags
from dtir.imaging.vips import libvips, reason_of

if TYPE_CHECKING:
    import pyvips

File = str | os.PathLike | bytes

# Warnings are filtered for all threads; two that did it at once would leave the filter behind.
_FILTERS = threading.RLock()


@dataclass(frozen=True)
class Source:
    """An opened file, decoded when its pixels are asked for.

    Attributes:
        pixels: (H, W) with one or three colours and then `form.extra`, uint8 or uint16 of 0 to `form.peak`, upright.
        form: How the file holds them.
        pages: How many pages or frames the file has.
        origin: What messages call it.
    """

    pixels: "pyvips.Image"
    form: Form
    pages: int
    origin: str | os.PathLike

    def read(self) -> np.ndarray:
        """All pixels, (H, W, bands).

        Raises:
            ImageFileError: The file is damaged or cut off.
        """
        with damage_named(self.origin):
            # pyvips drops the axes of grey ones: the last, and of a single pixel all.
            return self.pixels.numpy().reshape(self.pixels.height, self.pixels.width, -1)


def open_source(file: File, origin: str | os.PathLike | None = None, page: int = 0, in_order: bool = True) -> Source:
    """Opens a picture file, or its content.

    Args:
        file: Path or bytes.
        origin: What messages call it; None for the path.
        page: Which of its pages or frames, from 0.
        in_order: Its pixels are asked for once and from top to bottom, which takes the least memory.

    Raises:
        ImageFileError: It is missing, empty, damaged, no picture, or of a kind that is not restored.
        LibraryError: libvips cannot be loaded.
    """
    origin = file if origin is None else origin
    with open_stream(file, origin) as stream, damage_named(origin), _FILTERS, warnings.catch_warnings():
        # Pillow tells of damaged tags by warnings.
        warnings.simplefilter("ignore")
        return Source(*_opened(stream, file, page, in_order), origin)


def _opened(stream: IO[bytes], file: File, page: int, in_order: bool) -> tuple["pyvips.Image", Form, int]:
    start = stream.read(16)
    stream.seek(0)
    if start[4:12] == b"ftypavis":
        raise ImageFileError("is an AVIF animation, which is not read: convert it to WebP or to single pictures.")
    if start.startswith(b"BM"):
        return *pillow_files.open_bmp(stream), 1
    if PNM_MAGIC.match(start):
        return *pillow_files.open_pnm(stream.read()), 1
    if start.startswith((b"P1", b"P4")):
        return *pillow_files.open_bitmap(stream), 1
    if start.startswith(PNG_SIGNATURE):
        return vips_files.open_vips(file, Form(chunks=kept_chunks(stream)), page, in_order)
    if not start.startswith(TIFF_SIGNATURES):
        return vips_files.open_vips(file, Form(), page, in_order)
    tags = read_tags(stream, page)
    if PHOTOMETRIC in tags and tags[PHOTOMETRIC].numbers == (8,) and tags[SAMPLE_BITS].numbers[0] == 8:
        stream.seek(0)
        return pillow_files.open_lab(stream, page)
    return vips_files.open_vips(file, vips_files.tiff_form(tags), page, in_order)


@contextlib.contextmanager
def damage_named(origin: str | os.PathLike) -> Iterator[None]:
    """Turns what decoders raise into errors that name the file.

    Raises:
        ImageFileError: In place of theirs.
    """
    try:
        yield
    except ImageFileError as error:
        raise ImageFileError(f"'{origin}' {error}") from error
    except libvips().Error as error:
        reason = reason_of(error)
        if "not configured" in reason or "not implemented" in reason:
            raise ImageFileError(
                f"'{origin}' is compressed in a way that is not read here ({reason}): save it again with LZW."
            ) from error
        # pyvips's own words for a file that no loader takes: another thread may have taken libvips's from their buffer.
        if "known format" in reason or reason.startswith("unable to load from source"):
            reason = f"its content is of no known format; supported: {', '.join(IMAGE_EXTENSIONS)}"
        raise ImageFileError(
            f"'{origin}' is damaged, ends early or is no picture: {reason}. Copy or download it again."
        ) from error
    except MemoryError as error:
        raise ImageFileError(f"'{origin}' says it has more pixels than there is memory for.") from error
    except (ValueError, SyntaxError, EOFError, OSError, IndexError) as error:
        if str(error).startswith("Unsupported"):
            # Pillow's word for what is whole and foreign to it.
            raise ImageFileError(f"'{origin}' is of a kind that is not read here ({error}): convert it.") from error
        raise ImageFileError(f"'{origin}' is damaged: {error}. Copy or download it again.") from error


def open_stream(file: File, origin: str | os.PathLike) -> IO[bytes]:
    """A file, or its content, open for reading.

    Raises:
        ImageFileError: It is missing, may not be read, or is empty.
    """
    try:
        stream = io.BytesIO(file) if isinstance(file, bytes) else open(file, "rb")  # noqa: SIM115
    except OSError as error:
        reason = error.strerror or error
        if is_broken_link(Path(file)):
            reason = f"it is a link to '{os.readlink(file)}', which is not there"
        raise ImageFileError(f"cannot read '{origin}': {reason}. Check the path.") from error
    if not stream.read(1):
        stream.close()
        raise ImageFileError(f"'{origin}' is empty (0 bytes): copy or download it again.")
    stream.seek(0)
    return stream
