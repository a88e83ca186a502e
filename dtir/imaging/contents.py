"""What a picture file holds beside its pixels, and what of it a restored file lacks: for one line to its owner."""

import os
import warnings
from collections.abc import Iterator
from typing import IO

from PIL import TiffTags
from PIL.JpegImagePlugin import JpegImageFile

from dtir.imaging.opening import File, Source, open_source, open_stream
from dtir.imaging.picture import Form
from dtir.imaging.png_chunks import SIGNATURE as PNG_SIGNATURE
from dtir.imaging.png_chunks import frames, lost_chunks, text_keywords
from dtir.imaging.tiff_tags import EXIF, GPS, TIFF_SIGNATURES, read_tags

_BLOCKS = {
    "exif-data": "EXIF",
    "xmp-data": "XMP",
    "iptc-data": "IPTC",
    "icc-profile-data": "ICC profile",
    "photoshop-data": "Photoshop data",
    "jpeg-thumbnail-data": "thumbnail",
    "image-description": "description",
}
_TIFF_BLOCKS = {270: "description", 700: "XMP", 33723: "IPTC", 34377: "Photoshop data", EXIF: "EXIF", GPS: "EXIF"}
_RESOLUTION_TAGS, _SUB_PICTURES = (282, 283, 296), 330
_JPEG_SIGNATURE = b"\xff\xd8\xff"
# Segments that libvips carries or writes itself, by how they begin.
_CARRIED_SEGMENTS = (b"JFIF", b"Exif\0", b"http://ns.adobe.com/xap/1.0/", b"ICC_PROFILE\0", b"Photoshop 3.0", b"Adobe")
# What libvips says of a file that does not say it: pixels per millimetre.
_UNSTATED = (1.0, 2.8)
_MILLIMETRES_PER_INCH = 25.4

COLOURS, DEPTH, PAGES = "colours", "depth", "pages"


def contents(file: File) -> dict[str, str]:
    """What a picture file holds, by what it is called: {"colours": "RGB", "depth": "16 bits", "EXIF": "EXIF", ...}.

    Raises:
        ImageFileError: See `open_source`.
    """
    source = open_source(file)
    form = source.form
    found = {COLOURS: _colours(form), DEPTH: _depth(form), PAGES: _pages(source.pages)}
    if form.has_alpha:
        found["transparency"] = "transparency"
    if len(form.extra) > form.has_alpha:
        found["further"] = f"further channels: {len(form.extra) - form.has_alpha}"
    if round(form.resolution[0], 1) not in _UNSTATED:
        found["resolution"] = " x ".join(f"{value * _MILLIMETRES_PER_INCH:.0f}" for value in form.resolution) + " dpi"
    with open_stream(file, source.origin) as stream:
        found |= {name: name for name in (*_carried(source), *_in_container(stream, form))}
        stream.seek(0)
        shown = frames(stream) if stream.read(8) == PNG_SIGNATURE else 1
    return found | ({PAGES: _pages(shown)} if shown > 1 else {})


def losses(source: str | os.PathLike, restored: str | os.PathLike) -> str | None:
    """What of a file its restoration does not hold, in one line; None where it holds everything.

    Raises:
        ImageFileError: One of the two cannot be read.
    """
    before, after = contents(source), contents(restored)
    said = [f"{before[key]} became {after[key]}" for key in (COLOURS, DEPTH) if _is_less(before[key], after[key])]
    if before[PAGES] != after[PAGES]:
        said.append(f"of {before[PAGES]} only the first was restored")
    gone = [name for key, name in before.items() if key not in (COLOURS, DEPTH, PAGES) and after.get(key) != name]
    said += [f"not kept: {', '.join(gone)}"] if gone else []
    return "; ".join(said) or None


def _is_less(before: str, after: str) -> bool:
    return before not in (after, "grey")


def _colours(form: Form) -> str:
    if form.kind in ("palette", "CMYK", "LAB"):
        return form.kind
    return "grey" if form.was_grey else "RGB"


def _depth(form: Form) -> str:
    if form.kind.endswith(("bit", "bits")):
        return form.kind
    bits = form.peak.bit_length()
    return f"{bits} bits" if form.peak == 2**bits - 1 else f"values up to {form.peak}"


def _pages(number: int) -> str:
    return "1 page" if number == 1 else f"{number} pages"


def _carried(source: Source) -> Iterator[str]:
    header = source.form.header
    if header is not None:
        yield from (name for field, name in _BLOCKS.items() if header.get_typeof(field))
    yield from (f"text '{keyword}'" for keyword in text_keywords(source.form.chunks))


def _in_container(stream: IO[bytes], form: Form) -> Iterator[str]:
    start = stream.read(8)
    stream.seek(0)
    if start.startswith(PNG_SIGNATURE):
        yield from lost_chunks(stream)
    if start.startswith(TIFF_SIGNATURES):
        tags = form.tags.keys() - set(_RESOLUTION_TAGS)
        yield from (_TIFF_BLOCKS.get(tag) or f"tag {TiffTags.lookup(tag).name}" for tag in sorted(tags))
        if _SUB_PICTURES in read_tags(stream):
            yield "smaller copies inside the page"
    if start.startswith(_JPEG_SIGNATURE):
        with warnings.catch_warnings():
            # Pillow tells of damaged EXIF by warnings.
            warnings.simplefilter("ignore")
            segments = list(_segments(JpegImageFile(stream)))
        yield from segments


def _segments(image: JpegImageFile) -> Iterator[str]:
    for name, data in image.applist:
        if name == "COM":
            yield "JPEG comment"
        elif not data.startswith(_CARRIED_SEGMENTS):
            yield f"JPEG segment {name} {_word(data)}".rstrip()


def _word(data: bytes) -> str:
    """The name at the beginning of a segment."""
    return data.split(b"\0")[0][:30].decode("latin-1") if data[:3].isalnum() else ""
