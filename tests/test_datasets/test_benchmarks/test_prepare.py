import hashlib
import io
import json
import os
import tarfile
import zipfile

import cv2
import numpy as np
import pytest

from dtir.core.errors import DatasetError, ImageFileError
from dtir.datasets import PairedDataset
from dtir.datasets.benchmarks import recipes
from dtir.imaging.files import read_rgb

LOL = [
    "LOLdataset/our485/low/2.png",
    "LOLdataset/our485/high/2.png",
    "LOLdataset/our485/low/10.png",
    "LOLdataset/our485/high/10.png",
    "LOLdataset/eval15/low/1.png",
    "LOLdataset/eval15/high/1.png",
]
LOL_FILES = [
    *("train/low-light/GT/10.png", "train/low-light/GT/2.png", "train/low-light/LQ/10.png"),
    *("train/low-light/LQ/2.png", "train/low-light/manifest.json", "val/low-light/GT/1.png"),
    *("val/low-light/LQ/1.png", "val/low-light/manifest.json"),
]


def pack_zip(work, path):
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(work.sources.rglob("*.*")):
            archive.write(file, file.relative_to(work.sources).as_posix())
        archive.writestr("__MACOSX/LOLdataset/our485/low/._2.png", b"no picture")
    return path


def pack_tar(work, path, mode):
    with tarfile.open(path, mode) as archive:
        # From back to front, as no order is promised.
        for file in sorted(work.sources.rglob("*.*"), reverse=True):
            archive.add(file, f"./{file.relative_to(work.sources).as_posix()}")
    return path


def test_a_folder_is_linked_to_relatively(work):
    work.tree(*LOL)
    work.prepare("lol_v1")
    assert work.files() == LOL_FILES
    link = work.out / "train/low-light/LQ/2.png"
    assert not os.path.isabs(os.readlink(link))
    assert link.resolve() == work.sources / LOL[0]


def test_what_was_prepared_is_what_the_configs_read(work, picture, monkeypatch):
    work.tree(*LOL)
    work.prepare("lol_v1")
    monkeypatch.setenv("DTIR_DATA", str(work.out))
    dataset = PairedDataset("low-light", "train/low-light", patch=8)
    assert [dataset[index]["data_samples"]["name"] for index in range(2)] == ["2", "10"]
    np.testing.assert_array_equal(dataset[0]["inputs"].permute(1, 2, 0), picture(LOL[0]))
    np.testing.assert_array_equal(dataset[0]["data_samples"]["gt"].permute(1, 2, 0), picture(LOL[1]))


def test_copies_do_not_need_the_source(work, picture):
    work.tree(*LOL)
    work.prepare("lol_v1", copy=True)
    (work.sources / LOL[0]).unlink()
    assert not (work.out / "train/low-light/LQ/2.png").is_symlink()
    np.testing.assert_array_equal(read_rgb(work.out / "train/low-light/LQ/2.png"), picture(LOL[0]))


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "gz"])
def test_an_archive_is_copied_from(work, tmp_path, picture, kind):
    work.tree(*LOL)
    path = tmp_path / f"LOLdataset.{kind}"
    archive = pack_zip(work, path) if kind == "zip" else pack_tar(work, path, "w:gz" if "gz" in kind else "w")
    manifests = work.prepare("lol_v1", archive)
    assert work.files() == LOL_FILES
    assert manifests["val/low-light"].sources == [str(path)]
    for name, source in (("train/low-light/LQ/10", LOL[2]), ("train/low-light/GT/10", LOL[3])):
        np.testing.assert_array_equal(read_rgb(work.out / f"{name}.png"), picture(source))


def test_parts_may_come_in_archives_of_their_own(work, tmp_path):
    work.tree("data/0_rain.png", "gt/0_clean.png")
    train, test = pack_zip(work, tmp_path / "train.zip"), pack_tar(work, tmp_path / "test_a.tar", "w")
    assert list(work.prepare("raindrop", train, test)) == ["train/raindrop", "val/raindrop"]


def test_the_manifest_says_what_there_is_and_where_from(work):
    work.tree(*LOL)
    work.prepare("lol_v1", layout="LOLdataset")
    entry = json.loads((work.out / "train/low-light/manifest.json").read_text())
    data = (work.sources / LOL[0]).read_bytes()
    assert entry["files"]["LQ/2.png"] == {
        "bytes": len(data),
        "width": 12,
        "height": 12,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    assert sorted(entry["files"]) == ["GT/10.png", "GT/2.png", "LQ/10.png", "LQ/2.png"]
    stated = {key: entry[key] for key in ("benchmark", "pairs", "expected", "split", "layout", "mode", "sources")}
    assert stated == {
        "benchmark": "lol_v1",
        "pairs": 2,
        "expected": [485],
        "split": "train",
        "layout": "LOLdataset",
        "mode": "link",
        "sources": [str(work.sources)],
    }
    assert entry["tool"].startswith("dtir ")


def test_jpeg_pictures_are_of_quality_10(work):
    smooth = cv2.resize(np.random.default_rng(0).integers(0, 256, (3, 3, 3), np.uint8), (24, 24))
    (work.sources / "refimgs").mkdir(parents=True)
    cv2.imwrite(str(work.sources / "refimgs" / "house.bmp"), smooth[:, :, ::-1])
    work.prepare("live1")
    assert (work.out / "val/jpeg-compressed/GT/house.bmp").is_symlink()
    _, data = cv2.imencode(".jpg", smooth[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, 10])
    expected = cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1]
    np.testing.assert_array_equal(read_rgb(work.out / "val/jpeg-compressed/LQ/house.png"), expected)


def test_noise_is_of_sigma_50_and_the_same_for_a_name_whatever_else_there_is(work, write):
    grey = np.full((128, 128, 3), 128, np.uint8)
    for name in ("CBSD68/a.png", "CBSD68/b.png"):
        write(work.sources / name, grey)
    work.prepare("cbsd68")
    a, b = (read_rgb(work.out / f"val/noisy/LQ/{name}.png") for name in "ab")
    # Clipping at +-2.55 sigma takes 1.6 % of the deviation; 49152 samples know it to 0.3 %.
    assert abs((a.astype(float) - 128).std() - 49.2) < 0.5
    assert (a != b).mean() > 0.9
    write(work.sources / "DIV2K_train_HR/b.png", grey)
    write(work.sources / "Flickr2K/c.png", grey)
    assert work.prepare("noise_div2k_flickr2k")["train/noisy"].pairs == 2
    np.testing.assert_array_equal(read_rgb(work.out / "train/noisy/LQ/b.png"), b)


def test_inpainting_is_white_where_the_mask_is_black(work, write, monkeypatch):
    monkeypatch.setattr(recipes, "FACE_SIZE", 16)
    faces = np.random.default_rng(0).integers(0, 200, (103, 16, 16, 3), np.uint8)
    for number, face in enumerate(faces):
        write(work.sources / f"CelebA-HQ-img/{number}.png", face)
    masks = np.random.default_rng(1).integers(0, 2, (3, 16, 16, 1), np.uint8) * 255
    for number, mask in enumerate(masks):
        write(work.sources / f"gt_keep_masks/thin/{number:06d}.png", np.repeat(mask, 3, axis=2))
    manifests = work.prepare("celebahq_inpainting")
    assert {folder: one.pairs for folder, one in manifests.items()} == {"train/inpainting": 3, "val/inpainting": 100}
    assert (work.out / "train/inpainting/GT/100.png").exists()
    root = work.out / "val/inpainting"
    np.testing.assert_array_equal(read_rgb(root / "GT/4.png"), faces[4])
    np.testing.assert_array_equal(read_rgb(root / "mask/4.png")[:, :, :1], masks[4 % 3])
    np.testing.assert_array_equal(read_rgb(root / "LQ/4.png"), np.where(masks[4 % 3] > 0, faces[4], 255))


def test_several_at_a_time_make_the_same(work, tmp_path):
    work.tree(*(f"CBSD68/{number}.png" for number in range(20)))
    one = work.prepare("cbsd68")
    work.out = tmp_path / "other"
    assert work.prepare("cbsd68", workers=3) == one


def test_inpainting_scales_pictures_to_256(picture):
    face = recipes.fit_face(picture("a", 512), "a", None)
    np.testing.assert_array_equal(face, cv2.resize(picture("a", 512), (256, 256), interpolation=cv2.INTER_AREA))


def test_inpainting_without_masks_says_so(work):
    work.tree("celeba_hq_256/1.jpg")
    with pytest.raises(DatasetError, match=r"pictures but no masks; add the folder or archive with thin/\* or"):
        work.prepare("celebahq_inpainting")


class KilledError(BaseException):
    """Stands in for a kill: nothing catches it."""


# The journal, four pictures, the manifest.
@pytest.mark.parametrize("point", range(6))
def test_a_killed_run_is_finished_by_the_next(work, tmp_path, monkeypatch, point):
    work.tree(*LOL)
    archive = pack_zip(work, tmp_path / "LOLdataset.zip")
    done, replace = [], os.replace

    def replace_until_killed(source, target):
        if len(done) == point:
            raise KilledError
        done.append(target)
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", replace_until_killed)
        with pytest.raises(KilledError):
            work.prepare("lol_v1", archive)
    assert not (work.out / "train/low-light/manifest.json").exists()
    # A kill at the worst moment leaves the temporary file as well.
    scratch = work.out / "train/low-light/LQ/.2.png.abc.tmp"
    scratch.parent.mkdir(exist_ok=True)
    scratch.write_bytes(b"half")
    kept = {path: path.stat().st_mtime_ns for path in work.out.rglob("*.png")}
    work.prepare("lol_v1", archive)
    assert work.files() == LOL_FILES
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert not list(work.out.rglob(".*"))


def test_a_finished_run_is_left_as_it_is_and_mended_where_it_is_not(work):
    work.tree(*LOL)
    first = work.prepare("lol_v1")
    manifest = work.out / "train/low-light/manifest.json"
    time = manifest.stat().st_mtime_ns
    assert work.prepare("lol_v1") == first
    assert manifest.stat().st_mtime_ns == time
    (work.out / "train/low-light/GT/2.png").unlink()
    assert work.prepare("lol_v1") == first
    assert work.files() == LOL_FILES


def test_another_mode_makes_all_files_anew(work):
    work.tree(*LOL)
    work.prepare("lol_v1")
    assert work.prepare("lol_v1", copy=True)["train/low-light"].mode == "copy"
    assert not any(path.is_symlink() for path in work.out.rglob("*"))


def test_a_folder_of_another_benchmark_is_not_touched(work, tmp_path):
    work.tree("DIV2K_train_HR/1.png", *(f"Snow100K-L/{side}/1.png" for side in ("gt", "synthetic")))
    work.prepare("snow100k_l")
    manifest = work.out / "val/snowy/manifest.json"
    manifest.write_text(manifest.read_text().replace('"snow100k_l"', '"mine"'))
    with pytest.raises(DatasetError, match=r"val/snowy' holds Snow100K-L \(mine\): give another --out"):
        work.prepare("snow100k_l")


def test_files_of_someone_else_are_not_touched(work):
    work.tree(*LOL)
    (work.out / "val/low-light/LQ").mkdir(parents=True)
    (work.out / "val/low-light/LQ/mine.png").touch()
    with pytest.raises(DatasetError, match=r"1 files are not of LOL-v1, layout 'LOLdataset': .*LQ/mine\.png"):
        work.prepare("lol_v1")
    assert work.files() == ["val/low-light/LQ/mine.png"]


def test_a_damaged_picture_is_named_and_not_recorded(work):
    work.tree(*LOL)
    path = work.sources / LOL[1]
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DatasetError, match=r"1 pictures of LOL-v1 cannot be read: .*GT/2\.png' is damaged"):
        work.prepare("lol_v1")
    assert not (work.out / "train/low-light/manifest.json").exists()


def test_nothing_is_derived_from_a_damaged_picture(work):
    work.tree("CBSD68/1.png")
    path = work.sources / "CBSD68/1.png"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImageFileError, match=r"CBSD68/1\.png' is damaged"):
        work.prepare("cbsd68")
    path.write_bytes(b"")
    with pytest.raises(ImageFileError, match=r"CBSD68/1\.png' is empty"):
        work.prepare("cbsd68")


def unlike_to_read() -> dict[str, bytes]:
    """Pictures that decoders differ on: 16 bits are rounded or cut, straight alpha is multiplied or not."""
    image = pytest.importorskip("PIL.Image", reason="Pillow writes the TIFF that is read here")
    colour = np.full((48, 48, 3), 150, np.uint8)
    alpha = np.full((48, 48, 1), 60, np.uint8)
    tiff, turned = io.BytesIO(), io.BytesIO()
    image.fromarray(np.dstack([colour, alpha])).save(tiff, "TIFF")
    exif = image.Exif()
    exif[274] = 6
    image.fromarray(colour[:24]).save(turned, "JPEG", exif=exif)
    deep = np.full((48, 48, 3), 150 * 257 + 200, np.uint16)
    return {"1.tif": tiff.getvalue(), "2.png": cv2.imencode(".png", deep)[1].tobytes(), "3.jpg": turned.getvalue()}


def test_a_derived_picture_is_of_its_gt_as_it_is_read(work):
    for name, data in unlike_to_read().items():
        (work.sources / "CBSD68").mkdir(parents=True, exist_ok=True)
        (work.sources / "CBSD68" / name).write_bytes(data)
    work.prepare("cbsd68")
    root = work.out / "val/noisy"
    for path in sorted((root / "GT").iterdir()):
        gt = read_rgb(path)
        expected = recipes.RECIPES["noise50"]["LQ"](gt, path.stem, None)
        np.testing.assert_array_equal(read_rgb(root / "LQ" / f"{path.stem}.png"), expected)
    assert read_rgb(root / "GT/2.png").max() == 151
    assert read_rgb(root / "LQ/3.png").shape == (48, 24, 3)


def test_a_damaged_archive_is_an_error(work, tmp_path):
    work.tree(*LOL)
    path = pack_tar(work, tmp_path / "LOLdataset.tar.gz", "w:gz")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DatasetError, match=r"LOLdataset\.tar\.gz' cannot be read: .*damaged or incomplete"):
        work.prepare("lol_v1", path)


def test_what_is_no_source_is_an_error(work, tmp_path):
    with pytest.raises(DatasetError, match=r"no source '.*/none': give the published archive"):
        work.prepare("lol_v1", tmp_path / "none")
    (tmp_path / "page.html").write_text("quota exceeded")
    with pytest.raises(DatasetError, match=r"page\.html' is no folder, zip or tar"):
        work.prepare("lol_v1", tmp_path / "page.html")


def test_a_picture_given_twice_is_an_error(work, tmp_path):
    work.tree(*LOL)
    with pytest.raises(DatasetError, match=r"are both '2': give each picture once"):
        work.prepare("lol_v1", work.sources, pack_zip(work, tmp_path / "again.zip"))


@pytest.mark.parametrize(
    ("task", "recipe", "equal"), [("inpainting", "inpainting", 1), ("jpeg-compressed", "jpeg10", 0.998)]
)
def test_derived_pictures_are_those_of_the_real_benchmark(data_dir, task, recipe, equal):
    root = data_dir / "real10" / task
    paths = sorted((root / "GT").iterdir())
    assert len(paths) == 6
    for path in paths:
        mask = read_rgb(root / "mask" / path.name) if task == "inpainting" else None
        made = recipes.RECIPES[recipe]["LQ"](read_rgb(path), path.stem, mask)
        # The published pictures were cropped after compression, by another version of the codec.
        assert (made == read_rgb(root / "LQ" / path.name)).mean() >= equal
