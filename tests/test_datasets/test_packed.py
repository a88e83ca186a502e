import os
import pickle
import shutil
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from dtir.core.errors import DatasetError, ImageFileError
from dtir.datasets import MultiTaskDataset, PackedPictures, PairedDataset, SampleKey, SyntheticDataset, write_pack
from dtir.imaging.files import read_rgb
from dtir.imaging.listing import list_images
from tools.dataset_converters import pack

NAMES = ("p1", "p2", "夜の 写真é")


def write(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return path


def noise(seed: int, *shape: int, dtype=np.uint8) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


@pytest.fixture
def root(tmp_path):
    """Three pairs of different sizes, the second smaller than the patch, packed in `hazy.npz` beside the folder."""
    for number, name in enumerate(NAMES):
        shape = (40, 30, 3) if number != 1 else (9, 50, 3)
        write(tmp_path / "hazy" / "LQ" / f"{name}.png", noise(number, *shape))
        write(tmp_path / "hazy" / "GT" / f"{name}.bmp", noise(number + 9, *shape))
    assert pack.main([str(tmp_path / "hazy"), "--out", str(tmp_path / "hazy.npz")]) == 0
    return tmp_path / "hazy"


def both(root: Path) -> tuple[MultiTaskDataset, MultiTaskDataset]:
    settings = {"type": "PairedDataset", "task": "hazy", "data_root": str(root), "patch": 16}
    plain, packed = ({}, {"packed": str(root.parent / "hazy.npz")})
    return MultiTaskDataset([{**settings, **plain}]), MultiTaskDataset([{**settings, **packed}])


def change(path: Path, data: bytes) -> None:
    """Writes a file anew a second later; a clock may tick too rarely for the time of modification to differ."""
    later = path.stat().st_mtime_ns + 10**9
    path.write_bytes(data)
    os.utime(path, ns=(later, later))


def assert_same(first: dict, second: dict) -> None:
    assert torch.equal(first["inputs"], second["inputs"])
    assert torch.equal(first["data_samples"].pop("gt"), second["data_samples"].pop("gt"))
    assert first["data_samples"] == second["data_samples"]


def test_items_are_those_of_the_files(root):
    plain, packed = both(root)
    for draw in range(24):
        key = SampleKey(0, draw, 0, draw % 3, draw % 5 == 0)
        assert_same(plain[key], packed[key])
    for index in range(3):
        assert_same(plain[index], packed[index])


def test_no_file_is_read_once_the_dataset_is_made(root):
    plain, packed = both(root)
    expected = plain[SampleKey(0, 0, 0, 2, False)]
    shutil.rmtree(root)
    assert_same(packed[SampleKey(0, 0, 0, 2, False)], expected)


def test_items_of_clean_pictures_are_those_of_the_files(root):
    settings = {"task": "noisy", "data_root": root, "recursive": True, "patch": 16, "margin": 4, "recolor": 0.3}
    plain, packed = SyntheticDataset(**settings), SyntheticDataset(**settings, packed=root.parent / "hazy.npz")
    for index in range(6):
        items = (dataset.training_item(index, np.random.default_rng(index)) for dataset in (plain, packed))
        assert_same(*items)
        assert_same(plain[index], packed[index])


def test_forked_workers_give_the_items_of_one_process(root):
    packed = both(root)[1]
    keys = [[SampleKey(0, 2 * batch + slot, 0, (batch + slot) % 3, False) for slot in range(2)] for batch in range(4)]
    loader = DataLoader(packed, batch_sampler=keys, num_workers=2, multiprocessing_context="fork")
    for batch, got in zip(keys, loader, strict=True):
        assert torch.equal(got["inputs"], torch.stack([packed[key]["inputs"] for key in batch]))


def test_pictures_of_every_kind_are_packed_as_they_are_read(tmp_path):
    pictures = {
        "grey.png": noise(0, 7, 5),
        "grey16.png": noise(1, 7, 5, dtype=np.uint16),
        "deep.png": noise(2, 7, 5, 3, dtype=np.uint16),
        "rgba.png": noise(3, 7, 5, 4),
        "rgba16.png": noise(4, 7, 5, 4, dtype=np.uint16),
        "a/photo.jpg": noise(5, 7, 5, 3),
        "a/one.tif": noise(6, 1, 1, 3),
    }
    paths = [write(tmp_path / "in" / name, pixels) for name, pixels in pictures.items()]
    write_pack(tmp_path / "x.npz", tmp_path / "in", paths)
    packed = PackedPictures(tmp_path / "x.npz", tmp_path / "in")
    packed.check(paths)
    with np.load(tmp_path / "x.npz") as archive:
        for name, path in zip(pictures, paths, strict=True):
            np.testing.assert_array_equal(packed.read(path), read_rgb(path))
            np.testing.assert_array_equal(archive[name], read_rgb(path))


def test_a_picture_of_a_pack_cannot_be_written_to(root):
    packed = PackedPictures(root.parent / "hazy.npz", root)
    with pytest.raises(ValueError, match="read-only"):
        packed.read(root / "LQ" / "p1.png")[0] = 0


def test_a_pack_goes_through_its_pictures_in_order(root):
    packed = PackedPictures(root.parent / "hazy.npz", root)
    for picture, path in zip(packed, list_images(root, recursive=True), strict=True):
        np.testing.assert_array_equal(picture, read_rgb(path))


def test_a_dataset_travels_to_spawned_workers_without_the_pixels(root):
    packed = both(root)[1]
    data = pickle.dumps(packed)
    assert len(data) < (root.parent / "hazy.npz").stat().st_size
    key = SampleKey(0, 4, 0, 1, False)
    assert_same(pickle.loads(data)[key], packed[key])


def test_a_moved_folder_and_pack_still_fit(root, tmp_path):
    moved = root.rename(tmp_path / "elsewhere")
    pack_file = (tmp_path / "hazy.npz").rename(tmp_path / "other.npz")
    dataset = PairedDataset("hazy", moved, packed=pack_file)
    np.testing.assert_array_equal(dataset[0]["inputs"].permute(1, 2, 0), read_rgb(moved / "LQ" / "p1.png"))


def test_a_relative_pack_starts_from_the_data_folder(root, monkeypatch):
    monkeypatch.setenv("DTIR_DATA", str(root.parent))
    assert len(PairedDataset("hazy", "hazy", packed="hazy.npz").packed) == 6


def test_a_file_that_was_only_copied_fits_and_a_changed_one_is_named(root):
    path = root / "LQ" / "p2.png"
    data = path.read_bytes()
    change(path, cv2.imencode(".png", noise(77, 9, 50, 3))[1].tobytes())
    with pytest.raises(
        DatasetError, match=r"hazy\.npz' does not fit.*LQ/p2\.png' has changed.*pack\.py '.*hazy' --out"
    ):
        both(root)
    change(path, data)
    assert len(both(root)[1]) == 3
    change(path, data + b"\0")
    with pytest.raises(DatasetError, match=r"LQ/p2\.png' has changed"):
        both(root)


def test_a_change_of_pixels_at_equal_size_is_found_by_the_hash(root):
    path = root / "GT" / "p1.bmp"
    data = path.read_bytes()
    change(path, data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(DatasetError, match=r"GT/p1\.bmp' has changed since it was packed"):
        both(root)


def test_new_pictures_are_counted_and_three_of_them_named(root):
    for number in range(2):
        write(root / "LQ" / f"new{number}.png", noise(0, 4, 4, 3))
        write(root / "GT" / f"new{number}.png", noise(0, 4, 4, 3))
    with pytest.raises(DatasetError, match="and 1 more") as caught:
        both(root)
    assert str(caught.value).count("is not in it") == 3


def test_a_picture_outside_the_folder_is_no_part_of_the_pack(root):
    packed = PackedPictures(root.parent / "hazy.npz", root / "LQ")
    with pytest.raises(DatasetError, match=r"lacks '.*GT/p1\.bmp'"):
        packed.read(root / "GT" / "p1.bmp")


@pytest.mark.parametrize("kept", [0, 100, -1, -1000])
def test_a_truncated_pack_is_named(root, kept):
    file = root.parent / "hazy.npz"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(DatasetError, match=r"hazy\.npz' is no pack, or not all of one.*pack\.py"):
        both(root)


def test_a_pack_that_another_program_wrote_anew_is_named(root):
    file = root.parent / "hazy.npz"
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(DatasetError, match="another program has rewritten it"):
        both(root)


def test_a_missing_pack_is_named_with_the_command_that_makes_it(root):
    with pytest.raises(DatasetError, match=r"no pack '.*none\.npz'.*tools/dataset_converters/pack\.py '.*hazy' --out"):
        PairedDataset("hazy", root, packed=root.parent / "none.npz")


def test_equal_pictures_give_equal_packs(root, tmp_path):
    write_pack(tmp_path / "again.npz", root, list_images(root, recursive=True))
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "hazy.npz").read_bytes()


def test_a_damaged_picture_leaves_the_old_pack_as_it_was(root, capsys):
    file = root.parent / "hazy.npz"
    before = file.read_bytes()
    (root / "LQ" / "p2.png").write_bytes((root / "LQ" / "p2.png").read_bytes()[:-20])
    assert pack.main([str(root), "--out", str(file)]) == 1
    assert "p2.png' is damaged" in capsys.readouterr().err
    assert file.read_bytes() == before
    assert sorted(path.name for path in root.parent.iterdir()) == ["hazy", "hazy.npz"]


def test_only_named_subfolders_are_packed(root, tmp_path, capsys):
    assert pack.main([str(root), "GT", "--out", str(tmp_path / "gt.npz")]) == 0
    assert "3 pictures" in capsys.readouterr().out
    packed = PackedPictures(tmp_path / "gt.npz", root)
    packed.check(list_images(root / "GT"))
    assert len(packed) == 3


def test_a_folder_without_pictures_is_an_error(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert pack.main([str(tmp_path / "empty"), "--out", str(tmp_path / "x.npz")]) == 1
    assert "no pictures in" in capsys.readouterr().err
    assert pack.main([str(tmp_path / "none"), "--out", str(tmp_path / "x.npz")]) == 1
    assert "no folder" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_to_is_named(root, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DatasetError, match="cannot write the pack"):
        write_pack(tmp_path / "file" / "x.npz", root, list_images(root / "GT"))


@pytest.mark.skipif(sys.platform != "linux", reason="file names of bytes that are no text exist on Linux")
def test_a_name_that_is_no_text_is_an_error(tmp_path):
    path = write(tmp_path / "in" / "\udcff.png", noise(0, 3, 3, 3))
    with pytest.raises((DatasetError, ImageFileError), match="rename the file"):
        write_pack(tmp_path / "x.npz", tmp_path / "in", [path])
