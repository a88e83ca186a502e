"""libvips through pyvips: loaded when it is first needed, and silent; its errors become sentences."""

import functools
import logging
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING

from dtir.core.errors import LibraryError

if TYPE_CHECKING:
    import pyvips


@functools.cache
def libvips() -> ModuleType:
    """The module `pyvips`, with nothing remembered between pictures and nothing printed.

    Raises:
        LibraryError: It is not installed, or the libvips it needs cannot be loaded.
    """
    # pyvips hands all that libvips and its decoders have to say to this logger.
    logging.getLogger("pyvips").setLevel(logging.CRITICAL + 1)
    try:
        import pyvips
    except (ImportError, OSError, AttributeError) as error:
        raise LibraryError(
            f"libvips, which reads and writes picture files, cannot be loaded ({str(error).splitlines()[0]}). Install "
            "it with: pip install 'pyvips[binary]'"
        ) from error
    # A file that is written anew must not be read as it was.
    pyvips.cache_set_max(0)
    return pyvips


def reason_of(error: "pyvips.Error") -> str:
    """What libvips says went wrong, in one line."""
    lines = [line.strip() for line in (error.detail or str(error)).splitlines() if line.strip()]
    reason = lines[-1] if lines else str(error)
    # libvips's own words where the decoder gives none.
    return "its header is malformed, or says too many pixels" if reason.startswith("unable to call") else reason


def copy_fields(source: "pyvips.Image", target: "pyvips.Image", names: Iterable[str]) -> None:
    """Sets metadata of `target` to that of `source`, byte for byte.

    Texts pass undecoded: not all that cameras write is UTF-8, and pyvips decodes nothing else.
    """
    vips = libvips()
    for name in names:
        value = vips.GValue()
        vips.vips_lib.vips_image_get(source.pointer, name.encode(), value.pointer)
        vips.vips_lib.vips_image_set(target.pointer, name.encode(), value.pointer)


def turned(image: "pyvips.Image", orientation: int) -> "pyvips.Image":
    """An image as a viewer shows it whose EXIF orientation (1 to 8) is given.

    To undo it, turn by the same orientation, with 6 and 8 exchanged: the other six are their own inverse.
    """
    if orientation in (5, 6, 7):
        image = image.rot90()
    if orientation == 8:
        image = image.rot270()
    if orientation == 3:
        image = image.rot180()
    if orientation in (2, 5):
        image = image.fliphor()
    if orientation in (4, 7):
        image = image.flipver()
    return image
