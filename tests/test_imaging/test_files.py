import contextlib
import errno
import io
import os
import resource
import struct

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from dtir.core.errors import ImageFileError
from dtir.imaging.files import read_picture, read_rgb, write_picture
from dtir.imaging.listing import list_images
from dtir.imaging.opening import damage_named
from dtir.imaging.vips import libvips

EXIF, ICC = cv2.IMAGE_METADATA_EXIF, cv2.IMAGE_METADATA_ICCP
# What libpng takes for a profile: size, class and colour spaces, signature, D50 white, a table of one text. The text
# is noise, since libpng refuses profiles that compress to less than 92 bytes.
PROFILE = struct.pack(
    ">I4xI12s12x4s28xIII48xI4sII4s4x",
    352,
    0x04000000,
    b"mntrRGB XYZ ",
    b"acsp",
    0xF6D6,
    0x10000,
    0xD32D,
    1,
    b"cprt",
    144,
    208,
    b"text",
) + np.random.default_rng(0).bytes(200)
LOSSLESS = [".png", ".bmp", ".tif", ".tiff", ".webp", ".ppm"]


def scene(height=40, width=51, dtype=np.uint8):
    coarse = np.random.default_rng(0).random((5, 6, 3))
    smooth = np.clip(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), 0, 1)
    return np.rint(smooth * np.iinfo(dtype).max).astype(dtype)


def exif_block(orientation, order="<"):
    entry = struct.pack(order + "HHIHH", 274, 3, 1, orientation, 0)
    mark = b"II" if order == "<" else b"MM"
    return mark + struct.pack(order + "HIH", 42, 8, 1) + entry + bytes(4)


def encode(extension, pixels, parameters=(), **metadata):
    """RGB(A) or grey pixels as a file's bytes; `exif` and `icc` are embedded."""
    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]])
    blocks = {{"exif": EXIF, "icc": ICC}[key]: np.frombuffer(value, np.uint8) for key, value in metadata.items()}
    if extension == ".webp":
        parameters = [cv2.IMWRITE_WEBP_QUALITY, 101]
    kinds = sorted(blocks)
    return cv2.imencodeWithMetadata(extension, pixels, kinds, [blocks[kind] for kind in kinds], parameters)[1].tobytes()


def save(path, *args, **options):
    path.write_bytes(encode(path.suffix, *args, **options))
    return path


def metadata_of(path):
    _, kinds, blocks = cv2.imdecodeWithMetadata(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    return {int(kind): block.tobytes() for kind, block in zip(kinds.ravel(), blocks, strict=True)}


def upright(pixels, orientation):
    """Each EXIF orientation spelled out: what a viewer has to do with the stored pixels."""
    turn = {
        1: lambda p: p,
        2: np.fliplr,
        3: lambda p: np.rot90(p, 2),
        4: np.flipud,
        5: lambda p: p.swapaxes(0, 1),
        6: lambda p: np.rot90(p, -1),
        7: lambda p: np.rot90(p, 2).swapaxes(0, 1),
        8: np.rot90,
    }
    return turn[orientation](pixels)


# Reading


@pytest.mark.parametrize("extension", LOSSLESS)
def test_lossless_formats_are_read_as_rgb(tmp_path, extension):
    np.testing.assert_array_equal(read_rgb(save(tmp_path / f"a{extension}", scene())), scene())


def test_jpeg_is_read_as_rgb(tmp_path):
    read = read_rgb(save(tmp_path / "a.jpg", scene()))
    assert np.abs(read.astype(int) - scene()).mean() < 4


@pytest.mark.parametrize("extension", [".png", ".bmp", ".tif", ".jpg", ".pgm"])
def test_grey_becomes_three_equal_channels(tmp_path, extension):
    read = read_rgb(save(tmp_path / f"a{extension}", scene()[:, :, 0]))
    assert read.shape == (40, 51, 3)
    assert (read == read[:, :, :1]).all()
    assert np.abs(read[:, :, 0].astype(int) - scene()[:, :, 0]).mean() < 2


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (5, 1), (1, 1, 3)])
@pytest.mark.parametrize("extension", [".png", ".tif", ".bmp"])
def test_pictures_of_one_pixel_are_read(tmp_path, extension, shape):
    read = read_picture(save(tmp_path / f"a{extension}", np.full(shape, 99, np.uint8)))
    assert read.rgb.shape == (*shape[:2], 3)
    assert np.rint(read.rgb * 255).ravel().tolist() == [99] * read.rgb.size


@pytest.mark.parametrize("extension", [".png", ".tif", ".ppm"])
def test_sixteen_bits_are_rounded_to_eight(tmp_path, extension):
    deep = scene(dtype=np.uint16)
    deep[0, :4, 0] = [128, 129, 65406, 65407]
    read = read_rgb(save(tmp_path / f"a{extension}", deep))
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, np.rint(deep / 257).astype(np.uint8))
    assert read[0, :4, 0].tolist() == [0, 1, 254, 255]


def test_every_value_of_sixteen_bits_is_rounded_to_the_nearest_of_eight(tmp_path):
    every = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    read = read_rgb(save(tmp_path / "a.png", every))
    np.testing.assert_array_equal(read[:, :, 1], np.rint(every / 257).astype(np.uint8))


@pytest.mark.parametrize("extension", [".png", ".tif", ".webp"])
def test_alpha_is_dropped_not_composited(tmp_path, extension):
    alpha = np.full((40, 51, 1), 9, np.uint8)
    read = read_rgb(save(tmp_path / f"a{extension}", np.dstack([scene(), alpha])))
    np.testing.assert_array_equal(read, scene())


def test_palette_and_cmyk_files_are_read_in_colour(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow writes the palette and CMYK files")
    palette = image.fromarray(scene()).quantize(16)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_rgb(tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))
    image.fromarray(scene()).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100, subsampling=0)
    image.fromarray(scene()).convert("CMYK").save(tmp_path / "cmyk.tif")
    assert np.abs(read_rgb(tmp_path / "cmyk.jpg").astype(int) - scene()).mean() < 4
    np.testing.assert_array_equal(read_rgb(tmp_path / "cmyk.tif"), scene())
    assert read_picture(tmp_path / "cmyk.tif").alpha is None


def test_straight_alpha_of_a_tiff_is_not_multiplied_into_the_colours(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow writes TIFF with straight alpha")
    image.fromarray(np.dstack([scene(), np.full((40, 51), 100, np.uint8)])).save(tmp_path / "a.tif")
    assert np.abs(read_rgb(tmp_path / "a.tif").astype(int) - scene()).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", [".png", ".webp", ".jpg"])
def test_exif_orientation_is_applied(tmp_path, extension, orientation):
    plain = read_rgb(save(tmp_path / f"plain{extension}", scene()))
    tagged = save(tmp_path / f"tagged{extension}", scene(), exif=exif_block(orientation))
    np.testing.assert_array_equal(read_rgb(tagged), upright(plain, orientation))


@pytest.mark.parametrize("extension", [".png", ".jpg"])
@pytest.mark.parametrize("block", [exif_block(0), exif_block(9), exif_block(6)[:12], b"II*\0\xff\xff\xff\xff", b"?"])
def test_malformed_exif_counts_as_upright(tmp_path, extension, block):
    path = save(tmp_path / f"a{extension}", scene(), exif=block)
    assert read_picture(path).rgb.shape == read_rgb(path).shape == (40, 51, 3)


@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_is_read_in_both_byte_orders(tmp_path, order):
    path = save(tmp_path / "a.jpg", scene(), exif=exif_block(6, order))
    assert read_picture(path).rgb.shape == read_rgb(path).shape == (51, 40, 3)


def test_unicode_paths_work(tmp_path):
    folder = tmp_path / "Größe 写真"
    path = folder / "naïve ☃.png"
    folder.mkdir()
    save(path, scene())
    picture = read_picture(path)
    write_picture(folder / "résultat.jpg", picture, picture.rgb)
    assert [p.name for p in list_images(folder)] == ["naïve ☃.png", "résultat.jpg"]


# Bad files


@pytest.mark.parametrize("extension", [*LOSSLESS, ".jpg", ".pgm"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9, 0.99])
def test_truncated_files_are_errors(tmp_path, extension, kept):
    pixels = scene(160, 200)
    path = save(tmp_path / f"cut{extension}", pixels[:, :, 0] if extension == ".pgm" else pixels)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(ImageFileError, match=f"cut{extension}.*(damaged|cannot be decoded)"):
        read_rgb(path)


@pytest.mark.parametrize("missing", [13, 16, 100])
def test_a_png_that_lacks_pixels_is_an_error(tmp_path, missing):
    path = save(tmp_path / "a.png", scene())
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(ImageFileError, match=r"a\.png' is damaged, ends early.*again"):
        read_rgb(path)


@pytest.mark.parametrize("missing", [1, 12])
def test_a_png_that_lacks_only_its_end_mark_is_read(tmp_path, missing):
    path = save(tmp_path / "a.png", scene())
    path.write_bytes(path.read_bytes()[:-missing])
    np.testing.assert_array_equal(read_rgb(path), scene())


def test_a_thumbnail_does_not_hide_that_a_jpeg_is_truncated(tmp_path):
    thumbnail = encode(".jpg", scene(10, 10))
    whole = encode(".jpg", scene(160, 200), exif=exif_block(1) + thumbnail)
    (tmp_path / "a.jpg").write_bytes(whole[:-100])
    assert thumbnail in whole
    with pytest.raises(ImageFileError, match="ends early"):
        read_rgb(tmp_path / "a.jpg")


def test_bytes_behind_the_end_marker_are_no_damage(tmp_path):
    for extension in (".jpg", ".png"):
        path = save(tmp_path / f"a{extension}", scene())
        path.write_bytes(path.read_bytes() + bytes(64))
        assert read_rgb(path).shape == (40, 51, 3)


def test_an_uncompressed_tiff_whose_directory_comes_first_is_checked(tmp_path):
    image = pytest.importorskip("PIL.Image", reason="Pillow writes TIFF with the directory first")
    buffer = io.BytesIO()
    image.fromarray(scene()).save(buffer, "TIFF")
    (tmp_path / "a.tif").write_bytes(buffer.getvalue()[:-500])
    with pytest.raises(ImageFileError, match="ends early"):
        read_rgb(tmp_path / "a.tif")


def test_a_flipped_bit_in_a_png_is_an_error(tmp_path):
    data = bytearray(encode(".png", scene()))
    data[len(data) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ImageFileError, match="is damaged"):
        read_rgb(tmp_path / "a.png")


def test_missing_empty_and_foreign_files_are_errors(tmp_path):
    with pytest.raises(ImageFileError, match=r"cannot read '.*none\.png': No such file"):
        read_rgb(tmp_path / "none.png")
    with pytest.raises(ImageFileError, match="cannot read"):
        read_rgb(tmp_path)
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageFileError, match=r"empty\.png' is empty"):
        read_rgb(tmp_path / "empty.png")
    (tmp_path / "text.jpg").write_text("not a picture")
    with pytest.raises(ImageFileError, match=r"text\.jpg' is damaged.*or is no picture.*supported: \.jpg"):
        read_rgb(tmp_path / "text.jpg")


def test_float_files_are_refused(tmp_path):
    pixels = scene().astype(np.float32)
    cv2.imwrite(str(tmp_path / "a.tif"), pixels)
    with pytest.raises(ImageFileError, match="samples of 32 bits: convert it to 8 or 16 bits"):
        read_rgb(tmp_path / "a.tif")


# Writing


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_depth_greyness_and_alpha_survive(tmp_path, extension, channels, dtype):
    pixels = np.dstack([scene(dtype=dtype), scene(dtype=dtype)[:, ::-1, 0]])[:, :, :channels].squeeze()
    path = save(tmp_path / f"a{extension}", pixels)
    picture = read_picture(path)
    assert picture.rgb.dtype == np.float32
    assert picture.rgb.max() <= 1
    assert (picture.form.was_grey, picture.alpha is not None) == (channels == 1, channels == 4)
    write_picture(tmp_path / f"b{extension}", picture, picture.rgb)
    # OpenCV multiplies colours by straight opacity.
    read = tifffile.imread if extension == ".tif" else lambda path: cv2.imread(path, cv2.IMREAD_UNCHANGED)
    raw = [read(str(tmp_path / f"{name}{extension}")) for name in "ab"]
    assert raw[1].dtype == dtype
    np.testing.assert_array_equal(raw[1], raw[0])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("extension", [".png", ".webp", ".jpg"])
def test_orientation_tag_and_pixels_agree_after_a_round_trip(tmp_path, extension, orientation):
    path = save(tmp_path / f"a{extension}", scene(), exif=exif_block(orientation), icc=PROFILE)
    picture = read_picture(path)
    assert picture.form.orientation == orientation
    out = tmp_path / f"b{extension}"
    write_picture(out, picture, picture.rgb)
    assert metadata_of(out)[ICC] == metadata_of(path)[ICC] == PROFILE
    with Image.open(out) as opened:
        assert opened.getexif()[274] == orientation
    assert np.abs(read_rgb(out).astype(int) - read_rgb(path)).mean() < 2
    stored = cv2.imread(str(out), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    assert stored.shape == scene().shape


def test_formats_without_exif_are_written_upright(tmp_path):
    picture = read_picture(save(tmp_path / "a.png", scene(), exif=exif_block(6)))
    for extension in (".bmp", ".tif"):
        write_picture(tmp_path / f"b{extension}", picture, picture.rgb)
        np.testing.assert_array_equal(read_rgb(tmp_path / f"b{extension}"), upright(scene(), 6))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_orientation_is_applied_once(tmp_path, orientation, dtype):
    tifffile.imwrite(tmp_path / "a.tif", scene(dtype=dtype)[:, :, 0], extratags=[(274, "H", 1, orientation, True)])
    picture = read_picture(tmp_path / "a.tif")
    expected = upright(scene(), orientation)[:, :, 0]
    assert np.abs(picture.rgb[:, :, 0] * 255 - expected).max() <= 0.51
    write_picture(tmp_path / "b.tif", picture, picture.rgb)
    np.testing.assert_array_equal(read_rgb(tmp_path / "b.tif"), read_rgb(tmp_path / "a.tif"))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_the_profile_of_a_tiff_survives(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", scene(dtype=dtype), photometric="rgb", iccprofile=PROFILE + b"odd")
    picture = read_picture(tmp_path / "a.tif")
    write_picture(tmp_path / "b.tif", picture, picture.rgb)
    with tifffile.TiffFile(tmp_path / "b.tif") as written:
        assert written.pages[0].iccprofile == PROFILE + b"odd"
    np.testing.assert_array_equal(read_rgb(tmp_path / "b.tif"), read_rgb(tmp_path / "a.tif"))


def test_a_profile_of_other_channels_is_left_out(tmp_path):
    grey_profile, cmyk_profile = (PROFILE.replace(b"RGB ", space) for space in (b"GRAY", b"CMYK"))
    grey = read_picture(save(tmp_path / "grey.png", scene()[:, :, 0], icc=grey_profile))
    write_picture(tmp_path / "grey2.png", grey, grey.rgb)
    assert metadata_of(tmp_path / "grey2.png") == {ICC: grey_profile}
    colour = read_picture(save(tmp_path / "colour.jpg", scene(), icc=cmyk_profile))
    for name in ("colour2.jpg", "colour2.png", "colour2.tif"):
        write_picture(tmp_path / name, colour, colour.rgb)
        with Image.open(tmp_path / name) as opened:
            assert "icc_profile" not in opened.info


def test_a_profile_larger_than_a_jpeg_segment_survives(tmp_path):
    profile = struct.pack(">I", 200_000) + PROFILE[4:] + np.random.default_rng(1).bytes(200_000 - len(PROFILE))
    Image.fromarray(scene()).save(tmp_path / "a.jpg", icc_profile=profile)
    picture = read_picture(tmp_path / "a.jpg")
    write_picture(tmp_path / "b.jpg", picture, picture.rgb)
    with Image.open(tmp_path / "b.jpg") as opened:
        assert opened.info["icc_profile"] == profile


def test_restored_values_are_rounded_and_clipped(tmp_path):
    picture = read_picture(save(tmp_path / "a.png", scene(1, 4)))
    values = np.array([-0.5, 0.4999 / 255, 0.5001 / 255, 1.5], np.float32)
    write_picture(tmp_path / "b.png", picture, np.repeat(values[None, :, None], 3, axis=2))
    assert read_rgb(tmp_path / "b.png")[0, :, 0].tolist() == [0, 0, 1, 255]


def test_what_a_format_cannot_hold_is_left_out(tmp_path):
    deep = np.dstack([scene(dtype=np.uint16), scene(dtype=np.uint16)[:, :, 0]])
    picture = read_picture(save(tmp_path / "a.png", deep))
    for extension in (".jpg", ".bmp", ".webp"):
        write_picture(tmp_path / f"b{extension}", picture, picture.rgb)
        raw = cv2.imread(str(tmp_path / f"b{extension}"), cv2.IMREAD_UNCHANGED)
        assert raw.dtype == np.uint8
        assert raw.shape[2] == (3 if extension == ".jpg" else 4)


def test_alpha_follows_a_restored_picture_of_another_size(tmp_path):
    picture = read_picture(save(tmp_path / "a.png", np.dstack([scene(), np.full((40, 51), 77, np.uint8)])))
    write_picture(tmp_path / "b.png", picture, np.zeros((80, 102, 3), np.float32))
    assert (read_picture(tmp_path / "b.png").alpha == np.full((80, 102), 77)).all()


def test_jpeg_keeps_full_chroma_resolution(tmp_path):
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2, 0] = stripes[:, 1::2, 2] = 200
    picture = read_picture(save(tmp_path / "a.png", stripes))
    write_picture(tmp_path / "b.jpg", picture, picture.rgb)
    assert np.abs(read_rgb(tmp_path / "b.jpg").astype(int) - stripes).mean() < 5


def test_an_unknown_format_is_an_error(tmp_path):
    picture = read_picture(save(tmp_path / "a.png", scene()))
    with pytest.raises(ImageFileError, match=r"b\.xyz.*\.png"):
        write_picture(tmp_path / "b.xyz", picture, picture.rgb)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png", scene())
    before = path.read_bytes()
    picture = read_picture(path)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ImageFileError, match=r"cannot write '.*a\.png': No space left on device"):
        write_picture(path, picture, 1 - picture.rgb)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.png"]


@contextlib.contextmanager
def files_up_to(size):
    """In the block no file of this process may grow larger."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["a.jpg", "a.png", "said.png", "a.tif", "a.webp", "a.avif", "a.gif", "a.bmp", "a.ppm"])
def test_a_write_that_the_system_refuses_is_named_by_its_reason(tmp_path, capfd, name):
    noise = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
    said = PngInfo()
    said.add_text("Title", "a yard")
    Image.fromarray(noise).save(tmp_path / "source.png", pnginfo=said if name == "said.png" else None)
    picture = read_picture(tmp_path / "source.png")
    with files_up_to(2000), pytest.raises(ImageFileError, match=rf"cannot write '.*{name}': File too large\."):
        write_picture(tmp_path / name, picture, picture.rgb)
    assert os.listdir(tmp_path) == ["source.png"]
    assert capfd.readouterr().err == ""


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path):
    picture = read_picture(save(tmp_path / "a.png", scene()))
    with pytest.raises(ImageFileError, match="cannot write"):
        write_picture(tmp_path / "a.png" / "b.png", picture, picture.rgb)


@pytest.mark.parametrize("sample", ["-3", "256", "9" * 25, "a"])
def test_a_sample_of_a_text_pnm_that_cannot_be_is_refused(tmp_path, sample):
    path = tmp_path / "x.pgm"
    path.write_text(f"P2\n2 2\n255\n1 2 {sample} 4\n")
    with pytest.raises(ImageFileError, match=r"x\.pgm' is damaged"):
        read_rgb(path)


def test_a_file_that_no_loader_takes_is_called_so_when_libvips_has_said_it_to_another_thread():
    error = libvips().Error("unable to load from source")
    with pytest.raises(ImageFileError, match=r"'a\.png' .* its content is of no known format"), damage_named("a.png"):
        raise error
