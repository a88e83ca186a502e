"""A picture in memory, and the form in which its file holds it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dtir.imaging.tiff_tags import Tags

if TYPE_CHECKING:
    import pyvips

# What a channel beside the colours is, by TIFF's ExtraSamples.
NO_OPACITY, PREMULTIPLIED, STRAIGHT = 0, 1, 2


@dataclass(frozen=True)
class Form:
    """How a file holds its picture, and what it says about it: what a restoration is written with.

    Attributes:
        peak: Value of a full sample: 255 for 8 bits, 65535 for 16, 1023 for 10.
        was_grey: Whether it has one colour channel.
        extra: What each further channel is: STRAIGHT or PREMULTIPLIED opacity, or NO_OPACITY.
        orientation: EXIF orientation of the file's own pixels, 1 (upright) to 8.
        kind: What a sample or a pixel is where a restoration cannot be that: "palette", "CMYK", "LAB", ...; or "".
        tile: Side of the file's tiles in pixels, 0 for none (TIFF).
        resolution: Pixels per millimetre across and down.
        header: One pixel that carries metadata under libvips' names; None without any.
        chunks: Further metadata of a PNG file, whole chunks.
        quality: That a lossy format is to be written with, 1 to 100; None is the format's own.
        tags: Further metadata of a TIFF file.
    """

    peak: int = 255
    was_grey: bool = False
    extra: tuple[int, ...] = ()
    orientation: int = 1
    kind: str = ""
    tile: int = 0
    resolution: tuple[float, float] = (1.0, 1.0)
    header: "pyvips.Image | None" = None
    chunks: bytes = b""
    quality: int | None = None
    tags: Tags = field(default_factory=dict)

    @property
    def has_alpha(self) -> bool:
        """Whether the first further channel is opacity."""
        return self.extra[:1] in ((STRAIGHT,), (PREMULTIPLIED,))


@dataclass
class Picture:
    """A picture with all that is needed to write a restored version of it in the same form.

    Attributes:
        rgb: float32 (H, W, 3) in [0, 1], upright (the EXIF orientation is applied).
        extra: The channels beside the colours (H, W, K), 0 to `form.peak`, uint8 or uint16, upright, one for each of
            `form.extra`; None where the file has none.
        form: How its file holds it.
    """

    rgb: np.ndarray
    extra: np.ndarray | None = None
    form: Form = field(default_factory=Form)

    @property
    def alpha(self) -> np.ndarray | None:
        """The opacity (H, W), not multiplied into the colours; None without any."""
        return self.extra[:, :, 0] if self.extra is not None and self.form.has_alpha else None
