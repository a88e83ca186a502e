"""Files of every kind: the right pixels come in, the same kind goes out, and what changes is said."""

import logging

import numpy as np
import pytest
import tifffile
from corpus import ALPHA, FILES, GREY, IPTC, PALETTE, RGB, SRGB, XMP, chunk, exif, pillow
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from dtir.core.errors import ImageFileError
from dtir.imaging.contents import losses
from dtir.imaging.files import open_pages, picture_of, read_picture, read_rgb, samples, write_samples, written_form
from dtir.imaging.vips import libvips

GREY_NAMES = ("grey", "white", "one_bit", "fax", "maxval.pgm", "ascii")
# By how much samples of 8 bits may differ: what the file was written with, and what is written again.
READING = {".jpg": 12, ".jfif": 12, ".gif": 40, "premultiplied.tif": 7, "lab.tif": 14, "ascii.pnm": 16}
WRITING = {".jpg": 9, ".jfif": 9, ".gif": 10, "premultiplied.tif": 14}


def expected(name):
    """The picture of the corpus as the file of this name shows it: RGB, 0 to 255."""
    if name.startswith("palette"):
        return np.asarray(PALETTE.convert("RGB"))
    grey = (GREY > 90) * 255 if name.startswith(("one_bit", "fax")) else GREY
    upright = np.repeat(grey[:, :, None], 3, 2) if name.startswith(GREY_NAMES) else RGB
    return np.rot90(upright, -1) if name.startswith(("metadata", "texts")) else upright


def through(source, target):
    """Reads all pages of a file and writes them as they are."""
    pages = [picture_of(page) for page in open_pages(source)]
    forms = [written_form(page.form, target) for page in pages]
    arrays = [samples(page.rgb, page.extra, page.form.peak, form) for page, form in zip(pages, forms, strict=True)]
    write_samples(target, [libvips().Image.new_from_array(array) for array in arrays], forms)
    return target


@pytest.fixture
def made(tmp_path):
    def make(name):
        path = tmp_path / name
        path.write_bytes(FILES[name][0]())
        return path

    return make


@pytest.mark.parametrize("name", FILES)
def test_pixels_and_form_survive_and_what_does_not_is_said(made, tmp_path, name, capfd, caplog):
    source = made(name)
    with caplog.at_level(logging.INFO):
        target = through(source, tmp_path / f"out_{name}")
        assert losses(source, target) == FILES[name][1]
    before, after = read_picture(source), read_picture(target)
    assert before.form.was_grey == name.startswith(GREY_NAMES)
    assert np.abs(before.rgb * 255 - expected(name)).max() <= READING.get(name, READING.get(source.suffix, 1))
    np.testing.assert_allclose(after.rgb, before.rgb, atol=WRITING.get(name, WRITING.get(source.suffix, 0)) / 255)
    if source.suffix == ".gif":
        # Frames of a GIF file hold opacity where they repeat what is there already.
        return
    assert (after.form.peak, after.form.extra, after.form.orientation) == (
        before.form.peak,
        before.form.extra,
        before.form.orientation,
    )
    if before.extra is not None:
        np.testing.assert_array_equal(after.extra, before.extra)
    assert (*capfd.readouterr(), caplog.text) == ("", "", "")


@pytest.mark.parametrize("name", FILES)
def test_training_reads_the_same_pixels(made, name):
    path = made(name)
    assert np.array_equal(read_rgb(path), np.rint(read_picture(path).rgb * 255).astype(np.uint8))


@pytest.mark.parametrize("name", ["grey_alpha.png", "rgba16.png", "rgba.webp", "straight.tif", "rgba.bmp"])
def test_opacity_is_in_the_output(made, tmp_path, name):
    target = through(made(name), tmp_path / f"out_{name}")
    assert np.abs(read_picture(target).alpha / read_picture(target).form.peak * 255 - ALPHA).max() < 1e-3


def test_other_channels_are_never_shown_as_opacity(made, tmp_path):
    for name, meaning in (("no_alpha.tif", (0,)), ("five.tif", (2, 0)), ("premultiplied.tif", (1,))):
        target = through(made(name), tmp_path / f"out_{name}")
        with tifffile.TiffFile(target) as written:
            assert tuple(map(int, written.pages[0].extrasamples)) == meaning
            difference = written.pages[0].asarray().astype(int) - tifffile.imread(made(name))
        assert np.abs(difference).max() <= (1 if meaning == (1,) else 0)


def test_texts_of_a_png_keep_their_letters(made, tmp_path):
    with Image.open(through(made("texts.png"), tmp_path / "out.png")) as target:
        assert target.text == {"Author": "Jörg", "Long": "z" * 300, "Title": "Größe ☃"}
        assert target.info["dpi"] == pytest.approx((300, 300), abs=0.01)
        assert target.getexif()[315] == "Ann"
        assert target.info["icc_profile"] == SRGB


def test_metadata_of_a_jpeg_survive(made, tmp_path):
    with Image.open(through(made("metadata.jpg"), tmp_path / "out.jpg")) as target:
        assert target.info["dpi"] == (300, 300)
        assert target.getexif()[274] == 6
        assert target.getexif().get_ifd(0x8769)[0x9003] == "2001:02:03 04:05:06"
        assert target.info["icc_profile"] == SRGB
        assert XMP in target.info["xmp"]
        assert IPTC in b"".join(data for _, data in target.applist)


@pytest.mark.parametrize("name", ["tags.tif", "big_endian.tif", "big.tif"])
def test_tags_of_a_tiff_survive(made, tmp_path, name):
    with tifffile.TiffFile(through(made(name), tmp_path / "out.tif")) as written:
        page = written.pages[0]
        assert page.tags["Software"].value == "scanner"
        assert page.tags["Artist"].value == "Jörg"
        assert page.tags["ModelPixelScaleTag"].value == (1.0, 2.0, 0.0)
        assert page.resolution == (300, 600)
        np.testing.assert_array_equal(page.asarray(), RGB)


def test_every_page_is_written(made, tmp_path):
    written = tifffile.imread(through(made("pages.tif"), tmp_path / "out.tif"))
    np.testing.assert_array_equal(written, tifffile.imread(made("pages.tif")))


def test_levels_of_pnm_are_scaled_and_kept(made, tmp_path):
    assert np.abs(read_rgb(made("maxval.ppm")).astype(int) - RGB).max() <= 1
    target = through(made("maxval.pgm"), tmp_path / "out.pgm")
    assert target.read_bytes() == b"P5\n26 18\n1023\n" + (GREY.astype(np.uint16) * 4).astype(">u2").tobytes()


def test_other_chunks_of_a_png_are_named(tmp_path):
    data = pillow(RGB, "PNG")
    (tmp_path / "a.png").write_bytes(data[:33] + chunk(b"oFFs", bytes(9)) + data[33:])
    assert losses(tmp_path / "a.png", through(tmp_path / "a.png", tmp_path / "b.png")) == "not kept: PNG chunk oFFs"


def test_a_still_picture_beside_the_frames_counts(tmp_path):
    frames = {"save_all": True, "append_images": [Image.fromarray(255 - RGB)], "default_image": True}
    (tmp_path / "a.png").write_bytes(pillow(RGB, "PNG", **frames))
    said = losses(tmp_path / "a.png", through(tmp_path / "a.png", tmp_path / "b.png"))
    assert said == "of 2 pages only the first was restored"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.png", b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"></svg>', r"not restored \(svg\)"),
        ("a.avif", b"\0\0\0,ftypavis" + bytes(40), "is an AVIF animation"),
        ("a.png", pillow(RGB, "PNG")[:33], "its header is malformed"),
    ],
)
def test_what_is_whole_but_not_read_is_named_for_what_it_is(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ImageFileError, match=reason):
        read_picture(tmp_path / name)


def test_a_compression_that_is_not_read_is_no_damage(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", RGB, compression="lzma")
    with pytest.raises(ImageFileError, match=r"a\.tif' is compressed in a way that is not read here"):
        read_picture(tmp_path / "a.tif")


def test_training_reads_odd_files_without_a_word_of_the_decoders(tmp_path, capfd):
    jpeg = pillow(RGB, "JPEG", quality=98)
    table = jpeg.index(b"\xff\xdb")
    (tmp_path / "padded.jpg").write_bytes(jpeg[:table] + bytes(9) + jpeg[table:])
    (tmp_path / "plain.jpg").write_bytes(jpeg)
    png = pillow(RGB, "PNG")
    (tmp_path / "odd.png").write_bytes(png[:33] + chunk(b"sPLT", b"x") + chunk(b"iCCP", b"x\0\0") + png[33:])
    (tmp_path / "turned.png").write_bytes(pillow(RGB, "PNG", exif=exif(6)))
    np.testing.assert_array_equal(read_rgb(tmp_path / "padded.jpg"), read_rgb(tmp_path / "plain.jpg"))
    np.testing.assert_array_equal(read_rgb(tmp_path / "odd.png"), RGB)
    np.testing.assert_array_equal(read_rgb(tmp_path / "turned.png"), np.rot90(RGB, -1))
    for name, content in {"crc.png": png[:60] + b"x" + png[61:], "cut.png": png[:-30], "cut.jpg": jpeg[:-60]}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageFileError, match=name):
            read_rgb(tmp_path / name)
    assert capfd.readouterr() == ("", "")


class Pictures(Dataset):
    def __init__(self, path):
        self.path = path

    def __len__(self):
        return 2

    def __getitem__(self, index):
        return int(read_rgb(self.path).shape[0])


def test_damage_among_the_pixels_prints_nothing_in_workers(tmp_path, capfd):
    jpeg = bytearray(pillow(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8), "JPEG", quality=98))
    middle = len(jpeg) // 2
    jpeg[middle : middle + 40] = b"\x55\xff\x00" * 13 + b"\x11"
    (tmp_path / "a.jpg").write_bytes(bytes(jpeg))
    assert list(DataLoader(Pictures(tmp_path / "a.jpg"), batch_size=None, num_workers=1)) == [64, 64]
    assert capfd.readouterr() == ("", "")


def test_what_another_format_cannot_hold_is_said(made, tmp_path):
    source = made("rgba16.png")
    assert losses(source, through(source, tmp_path / "a.jpg")) == "16 bits became 8 bits; not kept: transparency"
    source = made("pages.tif")
    said = losses(source, through(source, tmp_path / "a.png"))
    assert said == "of 2 pages only the first was restored; not kept: tag Software"
