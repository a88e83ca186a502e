"""The file formats that are read and written, and what each can hold."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from dtir.core.errors import ImageFileError


@dataclass(frozen=True)
class Format:
    """A file format that restorations are written in.

    Attributes:
        name: What people call it.
        extensions: Extensions of its files, lower case, with the dot.
        peaks: The largest sample values that it can be written with, ascending; any value where empty.
        alpha: Whether it holds opacity.
        extra: Whether it holds channels of any meaning beside the colours.
        turned: Whether it holds an orientation, so that pixels need not be upright.
        pages: Whether it holds several pages.
        options: Options of the writer of libvips; None where it is not libvips that writes it.
    """

    name: str
    extensions: tuple[str, ...]
    peaks: tuple[int, ...] = (255,)
    alpha: bool = True
    extra: bool = False
    turned: bool = True
    pages: bool = False
    options: dict | None = field(default_factory=dict)

    def peak_for(self, peak: int) -> int:
        """The sample value for white that it is written with for samples of 0 to `peak`."""
        return next((own for own in self.peaks if own >= peak), self.peaks[-1]) if self.peaks else peak

    def at_quality(self, quality: int | None) -> dict:
        """Options of libvips for a quality of 1 to 100; none for None, and for formats that lose nothing."""
        if quality is None or self.name not in LOSSY:
            return {}
        return {"Q": quality} | ({} if self.name == "JPEG" else {"lossless": False})


_TIFF_OPTIONS = {"compression": "lzw", "predictor": "horizontal"}
LOSSY = ("JPEG", "WebP", "AVIF")
DEEP = (255, 65535)
FORMATS = (
    # Restored detail is not thrown away again: fine quality, full resolution of colours, lossless where that exists.
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), alpha=False, options={"Q": 95, "subsample_mode": "off"}),
    Format("PNG", (".png",), DEEP, options={"filter": "all"}),
    Format("WebP", (".webp",), pages=True, options={"lossless": True, "exact": True}),
    Format("TIFF", (".tif", ".tiff"), DEEP, extra=True, pages=True, options=_TIFF_OPTIONS),
    Format("GIF", (".gif",), turned=False, pages=True),
    Format(
        "AVIF",
        (".avif",),
        (255, 1023, 4095),
        turned=False,
        # Higher efforts take a minute for a few megapixels and save some per cent.
        options={"compression": "av1", "lossless": True, "effort": 1},
    ),
    Format("BMP", (".bmp",), turned=False, options=None),
    Format("PNM", (".ppm", ".pgm", ".pnm"), (), alpha=False, turned=False, options=None),
)
BY_EXTENSION = {extension: kind for kind in FORMATS for extension in kind.extensions}
IMAGE_EXTENSIONS = tuple(BY_EXTENSION)


def format_of(path: str | os.PathLike) -> Format:
    """The format that a file's extension stands for.

    Raises:
        ImageFileError: None that is known.
    """
    kind = BY_EXTENSION.get(Path(path).suffix.lower())
    if kind is None:
        raise ImageFileError(f"cannot write '{path}': use one of the extensions {', '.join(IMAGE_EXTENSIONS)}.")
    return kind
