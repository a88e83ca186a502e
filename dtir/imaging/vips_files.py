"""Pictures in and out of files through libvips: JPEG, PNG, WebP, TIFF, GIF and AVIF."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import IO, TYPE_CHECKING

from dtir.core.errors import ImageFileError
from dtir.imaging.formats import Format
from dtir.imaging.picture import NO_OPACITY, PREMULTIPLIED, STRAIGHT, Form
from dtir.imaging.png_chunks import HEAD_BYTES, with_chunks
from dtir.imaging.tiff_tags import (
    EXTRA_SAMPLES,
    PHOTOMETRIC,
    SAMPLE_BITS,
    TILE_WIDTH,
    Tags,
    add_tags,
    kept_tags,
    shorts,
)
from dtir.imaging.vips import copy_fields, libvips, turned

if TYPE_CHECKING:
    import pyvips

_FIELDS = (
    "exif-data",
    "xmp-data",
    "iptc-data",
    "icc-profile-data",
    "photoshop-data",
    "image-description",
    "jpeg-thumbnail-data",
    "orientation",
    "resolution-unit",
    "loop",
    "delay",
)
# libvips also draws SVG and reads tables of numbers.
_LOADERS = ("jpeg", "png", "webp", "tiff", "gif", "heif")
_COLOURS = {"b-w": 1, "grey16": 1, "srgb": 3, "rgb": 3, "rgb16": 3}
_PALETTE = 3
# Compressed it may be smaller, but that is known too late; the rest is room for the tags.
_CLASSIC_TIFF_BYTES = 4_000_000_000


def tiff_form(tags: Tags) -> Form:
    """What a TIFF page's tags say of its form.

    Raises:
        ImageFileError: Its samples are of a kind that is not restored; the message lacks the file's name.
    """
    bits = max(tags[SAMPLE_BITS].numbers) if SAMPLE_BITS in tags else 1
    if bits > 16:
        raise ImageFileError(f"holds samples of {bits} bits: convert it to 8 or 16 bits.")
    extra = tags[EXTRA_SAMPLES].numbers if EXTRA_SAMPLES in tags else ()
    return Form(
        extra=extra,
        kind="palette" if PHOTOMETRIC in tags and tags[PHOTOMETRIC].numbers == (_PALETTE,) else "",
        tile=tags[TILE_WIDTH].numbers[0] if TILE_WIDTH in tags else 0,
        tags=kept_tags(tags),
    )


def open_vips(
    file: str | os.PathLike | bytes, form: Form, page: int, in_order: bool
) -> tuple["pyvips.Image", Form, int]:
    """Pixels (upright grey or RGB, and what else the file has), form and number of pages of a file.

    Args:
        file: Path or content.
        form: What is already known of its form.
        page: Which page, from 0.
        in_order: See `open_source`.

    Raises:
        ImageFileError: It is of a kind that is not restored; the message lacks the file's name.
        pyvips.Error: It is damaged or no picture.
    """
    options = {"page": page} if page else {}
    image = _load(file, options)
    loader = image.get("vips-loader").partition("load")[0]
    if loader not in _LOADERS:
        raise ImageFileError(f"is of a kind that is not restored ({loader}): convert it to PNG or TIFF.")
    orientation = _field(image, "orientation", 1)
    # What is turned is not read from top to bottom.
    image = _load(file, options | {"access": "sequential" if in_order and orientation == 1 else "random"})
    form = replace(
        form,
        kind=form.kind or _kind(image),
        orientation=orientation,
        resolution=(image.xres, image.yres),
        header=_header(image),
    )
    pages = _field(image, "n-pages", 1)
    image, form = _as_samples(_as_colours(image), form)
    return turned(image, orientation), form, pages


def _load(file: str | os.PathLike | bytes, options: dict) -> "pyvips.Image":
    vips = libvips()
    # Not by name: libvips takes what stands in square brackets at the end of one for options.
    source = (
        vips.Source.new_from_memory(file) if isinstance(file, bytes) else vips.Source.new_from_file(os.fsencode(file))
    )
    return vips.Image.new_from_source(source, "", fail_on="error", **options)


def _field(image: "pyvips.Image", name: str, default: int) -> int:
    return image.get(name) if image.get_typeof(name) else default


def _header(image: "pyvips.Image") -> "pyvips.Image":
    header = libvips().Image.black(1, 1).copy()
    names = [name for name in image.get_fields() if name in _FIELDS or name.startswith("exif-ifd")]
    copy_fields(image, header, names)
    return header


def _kind(image: "pyvips.Image") -> str:
    bits = _field(image, "bits-per-sample", 8)
    if _field(image, "palette", 0):
        return "palette"
    if image.interpretation in ("lab", "labs", "labq"):
        return "LAB"
    if image.interpretation == "cmyk":
        return "CMYK"
    return {1: "1 bit", 2: "2 bits", 4: "4 bits"}.get(bits, "")


def _as_colours(image: "pyvips.Image") -> "pyvips.Image":
    """CMYK and LAB as RGB; all else as it is."""
    if image.interpretation == "labs":
        return image.colourspace("rgb16")
    if image.interpretation in ("lab", "labq"):
        return image.colourspace("srgb")
    return _cmyk_as_rgb(image) if image.interpretation == "cmyk" else image


def _cmyk_as_rgb(image: "pyvips.Image") -> "pyvips.Image":
    inks, others = image[:4], [image[band] for band in range(4, image.bands)]
    if image.get_typeof("icc-profile-data"):
        rgb = inks.icc_transform("srgb", embedded=True, depth=16 if image.format == "ushort" else 8)
    else:
        peak = 65535 if image.format == "ushort" else 255
        rgb = ((peak - inks[:3]) * (peak - inks[3]) / peak).rint().cast(image.format)
    joined = rgb.bandjoin(others) if others else rgb
    return joined.copy(interpretation="rgb16" if image.format == "ushort" else "srgb")


def _as_samples(image: "pyvips.Image", form: Form) -> tuple["pyvips.Image", Form]:
    """Checks that samples and channels are of a kind that is restored, and says what the channels are."""
    if image.format not in ("uchar", "ushort"):
        raise ImageFileError(f"holds samples of type {image.format}: convert it to 8 or 16 bits.")
    colours = _COLOURS.get(image.interpretation)
    if colours is None or image.bands < colours:
        raise ImageFileError(
            f"holds {image.bands} channels that are neither grey nor RGB ({image.interpretation}): convert it to RGB."
        )
    others = image.bands - colours
    extra = (form.extra or (STRAIGHT,))[:others]
    extra += (NO_OPACITY,) * (others - len(extra))
    if PREMULTIPLIED in extra and others > 1:
        raise ImageFileError(
            f"holds premultiplied colours and {others} channels beside them; only one, the opacity, can be handled: "
            "save it without the others."
        )
    peak, shift = _range(image)
    return (image >> shift).cast(image.format) if shift else image, replace(
        form, peak=peak, was_grey=colours == 1, extra=extra
    )


def _range(image: "pyvips.Image") -> tuple[int, int]:
    """The value of white, and by how many bits samples lie above their place (libvips: AVIF of 10 and 12 bits)."""
    if image.format == "uchar":
        return 255, 0
    bits = _field(image, "bits-per-sample", 16)
    return (2**bits - 1, 16 - bits) if bits in (10, 12) else (65535, 0)


def write_vips(file: IO[bytes], pages: Sequence["pyvips.Image"], forms: Sequence[Form], kind: Format) -> None:
    """Writes pages of one size, upright, through libvips.

    Args:
        file: Open for reading and writing, empty.
        pages: Grey or RGB and the channels of `forms`, which the format can hold, 0 to `form.peak`.
        forms: One for each page; what is said of the whole file is that of the first.
        kind: Kind of the file.

    Raises:
        pyvips.Error: The disk is full, or libvips cannot write this.
    """
    form = forms[0]
    stored = [_as_stored(page, form, kind) for page in pages]
    image = stored[0] if len(stored) == 1 else libvips().Image.arrayjoin(stored, across=1)
    image = image.copy(xres=form.resolution[0], yres=form.resolution[1])
    if form.header is not None:
        copy_fields(form.header, image, _fitting_fields(form.header, grey=image.bands - len(form.extra) == 1))
    _set_whole(image, "page-height", stored[0].height)
    if form.orientation != 1:
        _set_whole(image, "orientation", form.orientation if kind.turned else 1)
    # libvips would add a block of its own; JPEG needs one, or libvips drops the resolution with it.
    keep = "all" if image.get_typeof("exif-data") or kind.name == "JPEG" else "xmp:iptc:icc:other"
    options = {"keep": keep} | kind.options | _options_for(image, form, kind) | kind.at_quality(form.quality)
    image.write_to_target(_target(file, form.chunks if kind.name == "PNG" else b""), kind.extensions[0], **options)
    if kind.name == "TIFF":
        file.flush()
        add_tags(file, [page.tags | _extra_tag(page) for page in forms])


def _as_stored(page: "pyvips.Image", form: Form, kind: Format) -> "pyvips.Image":
    if kind.turned:
        # Of the eight orientations only the two quarter turns are not their own inverse.
        page = turned(page, {6: 8, 8: 6}.get(form.orientation, form.orientation))
    if form.peak in (1023, 4095):
        page = (page << (16 - form.peak.bit_length())).cast("ushort")
    colours = page.bands - len(form.extra)
    return page.copy(interpretation={1: ("b-w", "grey16"), 3: ("srgb", "rgb16")}[colours][form.peak > 255])


def _set_whole(image: "pyvips.Image", name: str, value: int) -> None:
    image.set_type(libvips().GValue.gint_type, name, value)


def _fitting_fields(header: "pyvips.Image", grey: bool) -> list[str]:
    # A profile of other channels than those written (CMYK, or RGB for grey) would make the file invalid.
    names = [name for name in header.get_fields() if name in _FIELDS or name.startswith("exif-ifd")]
    if "icc-profile-data" in names and header.get("icc-profile-data")[16:20] != (b"GRAY" if grey else b"RGB "):
        names.remove("icc-profile-data")
    return names


def _options_for(image: "pyvips.Image", form: Form, kind: Format) -> dict:
    if kind.name == "AVIF":
        return {"bitdepth": form.peak.bit_length()}
    if kind.name != "TIFF":
        return {}
    tiles = {"tile": True, "tile_width": form.tile, "tile_height": form.tile} if form.tile else {}
    size = image.width * image.height * image.bands * (2 if form.peak > 255 else 1)
    return tiles | {"premultiply": PREMULTIPLIED in form.extra, "bigtiff": size > _CLASSIC_TIFF_BYTES}


def _extra_tag(form: Form) -> Tags:
    return {EXTRA_SAMPLES: shorts(*form.extra)} if form.extra else {}


def _target(file: IO[bytes], chunks: bytes) -> "pyvips.Target":
    if not chunks:
        return libvips().Target.new_to_descriptor(file.fileno())
    target = libvips().TargetCustom()
    head = bytearray()

    def write(data: bytes) -> int:
        # What is raised here would only be printed: libvips raises its own error when it is told.
        try:
            if len(head) >= HEAD_BYTES:
                return file.write(data)
            head.extend(data)
            if len(head) >= HEAD_BYTES:
                file.write(with_chunks(bytes(head), chunks))
        except OSError:
            return -1
        return len(data)

    target.on_write(write)
    return target
