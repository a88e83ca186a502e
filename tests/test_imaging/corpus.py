"""Picture files of every kind that people have: format x depth x channels x opacity x metadata x pages."""

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import tifffile
from PIL import Image, ImageCms, PngImagePlugin

HEIGHT, WIDTH = 18, 26
Y, X = np.mgrid[:HEIGHT, :WIDTH]
RGB = np.stack([8 * X + 20, 12 * Y + 10, 4 * (X + Y) + 40], 2).astype(np.uint8)
GREY = RGB[:, :, 0]
ALPHA = (X * 9 + 20).astype(np.uint8)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"></x:xmpmeta>'
# Photoshop's block with one IPTC record: a caption.
IPTC = b"\x1c\x02\x78\x00\x07caption"
PHOTOSHOP = b"Photoshop 3.0\0" + b"8BIM\x04\x04\0\0" + struct.pack(">I", len(IPTC)) + IPTC


def deep(pixels: np.ndarray) -> np.ndarray:
    """The same picture with 16 bits."""
    return pixels.astype(np.uint16) * 257


def exif(orientation: int = 1) -> Image.Exif:
    block = Image.Exif()
    block[274], block[270], block[315] = orientation, "scene", "Ann"
    block.get_ifd(0x8769)[0x9003] = "2001:02:03 04:05:06"
    return block


def pillow(pixels: np.ndarray | Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(*pages: np.ndarray, **options) -> bytes:
    buffer = io.BytesIO()
    options.setdefault("photometric", "rgb" if pages[0].shape[-1] in (3, 4, 5) else "minisblack")
    with tifffile.TiffWriter(
        buffer, bigtiff=options.pop("bigtiff", False), byteorder=options.pop("byteorder", "<")
    ) as f:
        for page in pages:
            f.write(page, metadata=None, **options)
    return buffer.getvalue()


def opencv(pixels: np.ndarray, extension: str) -> bytes:
    stored = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]]
    return cv2.imencode(extension, np.ascontiguousarray(stored))[1].tobytes()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with_texts() -> bytes:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "Jörg")
    texts.add_text("Long", "z" * 300, zip=True)
    texts.add_itxt("Title", "Größe ☃", "de", "Titel")
    return pillow(RGB, "PNG", pnginfo=texts, dpi=(300, 300), icc_profile=SRGB, exif=exif(6))


def jpeg_with_iptc() -> bytes:
    plain = pillow(RGB, "JPEG", quality=95, dpi=(300, 300), exif=exif(6), icc_profile=SRGB, xmp=XMP)
    return plain[:2] + b"\xff\xed" + struct.pack(">H", len(PHOTOSHOP) + 2) + PHOTOSHOP + plain[2:]


def tagged(**options) -> bytes:
    """A TIFF file with the tags of an archive."""
    extra = [(315, "s", 0, "Jörg".encode("latin-1"), True), (33550, "d", 3, (1.0, 2.0, 0.0), True)]
    return tiff(RGB, resolution=(300, 600), resolutionunit="INCH", software="scanner", extratags=extra, **options)


def with_alpha(pixels: np.ndarray, alpha: np.ndarray = ALPHA) -> np.ndarray:
    return np.dstack([pixels, alpha])


MULTIPLIED = np.rint(RGB * (ALPHA[:, :, None] / 255)).astype(np.uint8)
PALETTE = Image.fromarray(RGB).quantize(16)

# By file name: how it is made, and what is said of its restoration; None where nothing is lost.
FILES: dict[str, tuple[Callable[[], bytes], str | None]] = {
    "grey.png": (lambda: pillow(GREY, "PNG"), None),
    "grey16.png": (lambda: pillow(deep(GREY), "PNG"), None),
    "grey_alpha.png": (lambda: pillow(with_alpha(GREY), "PNG"), None),
    "grey_key.png": (lambda: pillow(GREY, "PNG", transparency=int(GREY[0, 0])), None),
    "rgb16.png": (lambda: opencv(deep(RGB), ".png"), None),
    "rgba16.png": (lambda: opencv(deep(with_alpha(RGB)), ".png"), None),
    "rgb_key.png": (lambda: pillow(RGB, "PNG", transparency=tuple(map(int, RGB[0, 0]))), None),
    "one_bit.png": (lambda: pillow(GREY > 90, "PNG"), "1 bit became 8 bits"),
    "palette.png": (lambda: pillow(PALETTE, "PNG"), "palette became RGB"),
    "palette_alpha.png": (lambda: pillow(PALETTE, "PNG", transparency=bytes([0, 99])), "palette became RGB"),
    "texts.png": (png_with_texts, None),
    "moving.png": (
        lambda: pillow(RGB, "PNG", save_all=True, append_images=[Image.fromarray(255 - RGB)]),
        "of 2 pages only the first was restored",
    ),
    "grey.jpg": (lambda: pillow(GREY, "JPEG"), None),
    "metadata.jpg": (jpeg_with_iptc, None),
    "scan.jfif": (lambda: pillow(RGB, "JPEG"), None),
    "comment.jpg": (lambda: pillow(RGB, "JPEG", comment="hello"), "not kept: JPEG comment"),
    "cmyk.jpg": (lambda: pillow(Image.fromarray(RGB).convert("CMYK"), "JPEG", quality=100), "CMYK became RGB"),
    "metadata.webp": (lambda: pillow(RGB, "WEBP", lossless=True, exif=exif(6), icc_profile=SRGB, xmp=XMP), None),
    "rgba.webp": (lambda: pillow(with_alpha(RGB), "WEBP", lossless=True, exact=True), None),
    "moving.webp": (
        lambda: pillow(RGB, "WEBP", save_all=True, append_images=[Image.fromarray(255 - RGB)], lossless=True),
        None,
    ),
    "moving.gif": (lambda: pillow(RGB, "GIF", save_all=True, append_images=[Image.fromarray(255 - RGB)]), None),
    "grey.tif": (lambda: tiff(GREY), None),
    "white_is_zero.tif": (lambda: tiff(255 - GREY, photometric="miniswhite"), None),
    "grey_alpha16.tif": (
        lambda: tiff(deep(with_alpha(GREY)), extrasamples=["unassalpha"], planarconfig="contig"),
        None,
    ),
    "straight.tif": (lambda: tiff(with_alpha(RGB), extrasamples=["unassalpha"]), None),
    "premultiplied.tif": (lambda: tiff(with_alpha(MULTIPLIED), extrasamples=["assocalpha"]), None),
    "no_alpha.tif": (lambda: tiff(deep(with_alpha(RGB)), extrasamples=["unspecified"]), None),
    "five.tif": (lambda: tiff(np.dstack([RGB, ALPHA, GREY]), extrasamples=["unassalpha", "unspecified"]), None),
    "planar.tif": (lambda: tiff(RGB.transpose(2, 0, 1).copy(), photometric="rgb", planarconfig="separate"), None),
    "tiled.tif": (lambda: tiff(RGB, tile=(16, 16)), None),
    "big_endian.tif": (lambda: tagged(byteorder=">"), None),
    "tags.tif": (tagged, None),
    "big.tif": (lambda: tagged(bigtiff=True), None),
    "pages.tif": (lambda: tiff(deep(RGB), deep(255 - RGB)), None),
    "sizes.tif": (lambda: tiff(RGB, RGB[:9]), "of 2 pages only the first was restored"),
    "cmyk.tif": (lambda: pillow(Image.fromarray(RGB).convert("CMYK"), "TIFF"), "CMYK became RGB"),
    "cmyk16.tif": (lambda: tiff(deep(np.dstack([255 - RGB, 0 * GREY])), photometric="separated"), "CMYK became RGB"),
    "lab.tif": (
        lambda: pillow(
            ImageCms.profileToProfile(
                Image.fromarray(RGB), SRGB_PROFILE, ImageCms.createProfile("LAB"), outputMode="LAB"
            ),
            "TIFF",
        ),
        "LAB became RGB",
    ),
    "fax.tif": (lambda: pillow(Image.fromarray(GREY > 90), "TIFF", compression="group4"), "1 bit became 8 bits"),
    "palette.tif": (lambda: pillow(PALETTE, "TIFF"), "palette became RGB"),
    "dpi.bmp": (lambda: pillow(RGB, "BMP", dpi=(300, 300)), None),
    "rgba.bmp": (lambda: opencv(with_alpha(RGB), ".bmp"), None),
    "palette.bmp": (lambda: pillow(PALETTE, "BMP"), "palette became RGB"),
    "maxval.pgm": (
        lambda: b"P5\n# made by hand\n26 18 1023\n" + (GREY.astype(np.uint16) * 4).astype(">u2").tobytes(),
        None,
    ),
    "maxval.ppm": (lambda: b"P6 26 18 1023\n" + (RGB.astype(np.uint16) * 4).astype(">u2").tobytes(), None),
    "ascii.pnm": (lambda: b"P2 26 18 15\n" + " ".join(map(str, (GREY // 16).ravel())).encode(), None),
}
SRGB_PROFILE = ImageCms.createProfile("sRGB")
