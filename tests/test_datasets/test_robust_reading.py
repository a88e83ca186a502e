"""Every kind of picture file that data sets hold, read alone and as an item of `PairedDataset`."""

import io
import os
import struct

import numpy as np
import pytest

from dtir.core.errors import DatasetError, ImageFileError
from dtir.datasets import PairedDataset
from dtir.datasets.pairing import RULES
from dtir.imaging.files import read_rgb

image = pytest.importorskip("PIL.Image", reason="Pillow writes the files that are read here")

HEIGHT, WIDTH = 18, 26


def scene() -> np.ndarray:
    """(H, W, 3) uint8, smooth, so that JPEG changes little, and different at each corner and in each channel."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([8 * x + 20, 12 * y + 10, 4 * (x + y) + 40], 2).astype(np.uint8)


GREY = scene()[:, :, 0]
ALPHA = np.tile(np.arange(WIDTH, dtype=np.uint8) * 9 + 20, (HEIGHT, 1))
RGB = image.fromarray(scene())
RGBA = image.fromarray(np.dstack([scene(), ALPHA]))
PALETTE = RGB.quantize(16)
BLACK_AND_WHITE = image.fromarray(((scene()[:, :, 0] // 40 + scene()[:, :, 1] // 40) % 2 * 255).astype(np.uint8))


def grey(pixels: np.ndarray) -> np.ndarray:
    return np.repeat(pixels[:, :, None], 3, 2)


def saved(picture, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def deep(extension: str, pixels: np.ndarray) -> bytes:
    """Pillow writes no 16-bit colour; OpenCV does."""
    import cv2

    stored = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]] if pixels.ndim == 3 else pixels
    return cv2.imencode(extension, np.ascontiguousarray(stored))[1].tobytes()


def turned(kind: str, orientation: int, **options) -> bytes:
    exif = image.Exif()
    exif[274] = orientation
    return saved(RGB, kind, exif=exif, **options)


def transparent_palette() -> bytes:
    return saved(PALETTE, "PNG", transparency=bytes([0, 120, 255]))


DEEP = scene().astype(np.uint16) * 257
FULL = {"quality": 100, "subsampling": 0}
COLOURS = np.asarray(PALETTE.convert("RGB"))
ON_OFF = grey(np.asarray(BLACK_AND_WHITE))
GREY_PICTURE, ONE_BIT = image.fromarray(GREY), BLACK_AND_WHITE.convert("1")

# File name, its bytes, the RGB that is expected, how far any value may be off.
READABLE = {
    "rgb.png": (saved(RGB, "PNG"), scene(), 0),
    "grey.png": (saved(GREY_PICTURE, "PNG"), grey(GREY), 0),
    "grey_alpha.png": (saved(image.fromarray(np.dstack([GREY, ALPHA]), "LA"), "PNG"), grey(GREY), 0),
    "one_bit.png": (saved(ONE_BIT, "PNG"), ON_OFF, 0),
    "rgba.png": (saved(RGBA, "PNG"), scene(), 0),
    "palette.png": (saved(PALETTE, "PNG"), COLOURS, 0),
    "palette_4bit.png": (saved(PALETTE, "PNG", bits=4), COLOURS, 0),
    "palette_alpha.png": (transparent_palette(), COLOURS, 0),
    "rgb16.png": (deep(".png", DEEP), scene(), 0),
    "rgb16_rounded.png": (deep(".png", DEEP - 100), scene(), 0),
    "rgba16.png": (deep(".png", np.dstack([DEEP, ALPHA.astype(np.uint16) * 257])), scene(), 0),
    "grey16.png": (deep(".png", DEEP[:, :, 0]), grey(GREY), 0),
    "rgb.jpg": (saved(RGB, "JPEG", **FULL), scene(), 6),
    "subsampled.jpeg": (saved(RGB, "JPEG", quality=95), scene(), 12),
    "progressive.jpg": (saved(RGB, "JPEG", progressive=True, **FULL), scene(), 6),
    "grey.jpg": (saved(GREY_PICTURE, "JPEG", **FULL), grey(GREY), 4),
    "cmyk.jpg": (saved(RGB.convert("CMYK"), "JPEG", **FULL), scene(), 12),
    "lossless.webp": (saved(RGB, "WEBP", lossless=True), scene(), 0),
    "lossy.webp": (saved(RGB, "WEBP", quality=100), scene(), 16),
    "rgba.webp": (saved(RGBA, "WEBP", lossless=True, exact=True), scene(), 0),
    "rgb.tif": (saved(RGB, "TIFF"), scene(), 0),
    "lzw.tiff": (saved(RGB, "TIFF", compression="tiff_lzw"), scene(), 0),
    "deflate.tif": (saved(RGB, "TIFF", compression="tiff_adobe_deflate"), scene(), 0),
    "grey.tif": (saved(GREY_PICTURE, "TIFF"), grey(GREY), 0),
    "one_bit.tif": (saved(ONE_BIT, "TIFF"), ON_OFF, 0),
    "palette.tif": (saved(PALETTE, "TIFF"), COLOURS, 0),
    # libtiff multiplies by alpha, 20 at least here, and rounds.
    "rgba.tif": (saved(RGBA, "TIFF"), scene(), 7),
    "cmyk.tif": (saved(RGB.convert("CMYK"), "TIFF"), scene(), 0),
    "rgb16.tif": (deep(".tif", DEEP), scene(), 0),
    "grey16.tif": (deep(".tif", DEEP[:, :, 0]), grey(GREY), 0),
    "rgb.bmp": (saved(RGB, "BMP"), scene(), 0),
    "grey.bmp": (saved(GREY_PICTURE, "BMP"), grey(GREY), 0),
    "palette.bmp": (saved(PALETTE, "BMP"), COLOURS, 0),
    "one_bit.bmp": (saved(ONE_BIT, "BMP"), ON_OFF, 0),
    "rgba.bmp": (saved(RGBA, "BMP"), scene(), 0),
    "upside_down.png": (turned("PNG", 3), np.rot90(scene(), 2), 0),
    "on_its_side.jpg": (turned("JPEG", 6, **FULL), np.rot90(scene(), -1), 6),
    "mirrored.webp": (turned("WEBP", 2, lossless=True), scene()[:, ::-1], 0),
    "on_its_other_side.tif": (turned("TIFF", 8), np.rot90(scene()), 0),
    "JPEG named as PNG.png": (saved(RGB, "JPEG", **FULL), scene(), 6),
    "UPPER CASE.PNG": (saved(RGB, "PNG"), scene(), 0),
    "Größe 写真 ☃.png": (saved(RGB, "PNG"), scene(), 0),
}


def write(path, data: bytes):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def pair(folder, name: str, data: bytes) -> PairedDataset:
    """A data set of one pair: `data` as LQ, and a sound PNG of the same name as GT."""
    lq = write(folder / "LQ" / name, data)
    write(folder / "GT" / f"{lq.stem}.png", saved(RGB, "PNG"))
    return PairedDataset("hazy", folder)


@pytest.mark.parametrize("name", READABLE)
def test_what_is_read(tmp_path, name):
    data, expected, off = READABLE[name]
    read = read_rgb(write(tmp_path / name, data))
    assert (read.dtype, read.shape) == (np.uint8, expected.shape)
    assert np.abs(read.astype(int) - expected).max() <= off
    for side in ("LQ", "GT"):
        write(tmp_path / side / name, data)
    item = PairedDataset("hazy", tmp_path)[0]
    for picture in (item["inputs"], item["data_samples"]["gt"]):
        np.testing.assert_array_equal(picture.permute(1, 2, 0).numpy(), read)


WHOLE = {
    "a.png": saved(RGB, "PNG"),
    "a.jpg": saved(RGB, "JPEG"),
    "a.webp": saved(RGB, "WEBP", lossless=True),
    "a.tif": saved(RGB, "TIFF", compression="tiff_lzw"),
    "a.bmp": saved(RGB, "BMP"),
}
FLOAT_TIFF = saved(image.fromarray(scene()[:, :, 0].astype(np.float32)), "TIFF")
BROKEN = {
    **{f"half_{name}": data[: len(data) // 2] for name, data in WHOLE.items()},
    **{f"header_{name}": data[:20] for name, data in WHOLE.items()},
    **{f"empty_{name}": b"" for name in WHOLE},
    **{f"zeros_{name}": bytes(len(data)) for name, data in WHOLE.items()},
    "page.png": b"<html><body>404</body></html>",
    "float.tif": FLOAT_TIFF,
    "huge.bmp": b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 2**30, 2**30, 1, 24, 0, 0, 0, 0, 0, 0),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_refused_is_named(tmp_path, name):
    dataset = pair(tmp_path, name, BROKEN[name])
    file = str(tmp_path / "LQ" / name)
    for read in (
        lambda: read_rgb(file),
        lambda: dataset[0],
        lambda: dataset.training_item(0, np.random.default_rng(0)),
    ):
        with pytest.raises(ImageFileError) as caught:
            read()
        assert f"'{file}'" in str(caught.value)


def test_a_pair_of_two_sizes_names_both_files(tmp_path):
    dataset = pair(tmp_path, "a.jpg", turned("JPEG", 6))
    with pytest.raises(DatasetError, match=r"LQ '.*LQ/a\.jpg' is 18x26, GT '.*GT/a\.png' is 26x18"):
        dataset[0]


# Names of pairs by the sets' own rules, with folders and letters as people have them.
NAMED = {
    "same": ("写真 1.jpg", "写真 1.png"),
    "rain": ("rain-001.png", "norain-001.png"),
    "rain-x2": ("norain-1x2.png", "norain-1.png"),
    "reside": ("0001_0.8_0.2.jpg", "0001.png"),
    "raindrop": ("0_rain.png", "0_clean.png"),
    "srd": ("_MG_2385.jpg", "_MG_2385_no_shadow.JPG"),
    "lol-v2": ("low00690.png", "normal00690.png"),
}


@pytest.mark.parametrize("rule", RULES)
def test_pairs_by_the_names_of_their_set(tmp_path, rule):
    lq, gt = NAMED[rule]
    root = tmp_path / "Größe ☃"
    write(root / "LQ" / lq, saved(PALETTE, "PNG"))
    write(root / "GT" / gt, saved(RGB, "PNG"))
    dataset = PairedDataset("hazy", root, pairing=rule)
    assert len(dataset) == 1
    np.testing.assert_array_equal(dataset[0]["inputs"].permute(1, 2, 0).numpy(), COLOURS)
    np.testing.assert_array_equal(dataset[0]["data_samples"]["gt"].permute(1, 2, 0).numpy(), scene())
    write(root / "LQ" / f"x{lq}", saved(RGB, "PNG"))
    with pytest.raises(DatasetError) as caught:
        PairedDataset("hazy", root, pairing=rule)
    assert f"x{lq}' has no partner" in str(caught.value)


@pytest.mark.parametrize("linked", ["file", "folder", "chain"])
def test_links_are_followed(tmp_path, linked):
    pair(tmp_path / "real", "a.png", saved(RGB, "PNG"))
    root = tmp_path / "linked"
    for side in ("LQ", "GT"):
        real = tmp_path / "real" / side
        if linked == "folder":
            root.mkdir(exist_ok=True)
            (root / side).symlink_to(real)
            continue
        (root / side).mkdir(parents=True)
        (root / side / "a.png").symlink_to(os.path.relpath(real / "a.png", root / side))
        if linked == "chain":
            (root / side / "a.png").rename(root / side / "b")
            (root / side / "a.png").symlink_to("b")
    np.testing.assert_array_equal(PairedDataset("hazy", root)[0]["inputs"].permute(1, 2, 0).numpy(), scene())


@pytest.mark.parametrize("sides", [("LQ",), ("GT",), ("LQ", "GT")])
@pytest.mark.parametrize("target", ["nowhere.png", "b.png"])
def test_links_that_lead_nowhere_are_named(tmp_path, sides, target):
    pair(tmp_path, "a.png", saved(RGB, "PNG"))
    for side in ("LQ", "GT"):
        write(tmp_path / side / "b.png", saved(RGB, "PNG"))
    for side in sides:
        (tmp_path / side / "b.png").unlink()
        (tmp_path / side / "b.png").symlink_to(target)
        with pytest.raises(ImageFileError, match=rf"{side}/b\.png': it is a link to '{target}', which is not there"):
            read_rgb(tmp_path / side / "b.png")
    with pytest.raises(DatasetError, match=rf"1 pictures are links .*{sides[0]}/b\.png' -> '{target}'"):
        PairedDataset("hazy", tmp_path)
