import cv2
import numpy as np
import pytest
import torch

from dtir.core.errors import DatasetError, ImageFileError, TaskError
from dtir.datasets import PairedDataset
from dtir.registry import DATASETS


def picture(seed, height=24, width=30):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def write(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels[:, :, ::-1])


@pytest.fixture
def root(tmp_path):
    for number in (1, 2, 10):
        write(tmp_path / "LQ" / f"p{number}.png", picture(number))
        write(tmp_path / "GT" / f"p{number}.bmp", picture(number + 100))
    return tmp_path


def test_pairs_are_matched_by_name_in_natural_order(root):
    dataset = DATASETS.build({"type": "PairedDataset", "task": "hazy", "data_root": str(root)})
    items = [dataset[index] for index in range(len(dataset))]
    assert [item["data_samples"]["name"] for item in items] == ["p1", "p2", "p10"]
    for number, item in zip((1, 2, 10), items, strict=True):
        np.testing.assert_array_equal(item["inputs"].permute(1, 2, 0), picture(number))
        np.testing.assert_array_equal(item["data_samples"]["gt"].permute(1, 2, 0), picture(number + 100))
    last = items[-1]["data_samples"]
    assert last["task_name"] == "hazy"
    assert last["lq_path"].endswith("LQ/p10.png")
    assert last["gt_path"].endswith("GT/p10.bmp")
    assert last["generative"] is False


def test_daclips_tree_is_read_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("DTIR_DATA", str(tmp_path))
    with pytest.raises(DatasetError, match=r"no folder '.*train/inpainting'"):
        PairedDataset("inpainting", "train/inpainting")
    for folder, seed in (("uncompleted", 1), ("hazy", 2)):
        write(tmp_path / "train" / folder / "LQ" / "a.png", picture(seed))
        write(tmp_path / "train" / folder / "GT" / "a.png", picture(seed))
    read = PairedDataset("inpainting", "train/inpainting")[0]["inputs"]
    np.testing.assert_array_equal(read.permute(1, 2, 0), picture(1))
    # A folder of its own name goes before, and no other task has another name.
    for side in ("LQ", "GT"):
        write(tmp_path / "train" / "inpainting" / side / "a.png", picture(3))
    read = PairedDataset("inpainting", "train/inpainting")[0]["inputs"]
    np.testing.assert_array_equal(read.permute(1, 2, 0), picture(3))
    with pytest.raises(DatasetError, match=r"no folder '.*train/rainy'"):
        PairedDataset("rainy", "train/rainy")


def test_training_items_are_aligned_patches(root):
    write(root / "LQ" / "p2.png", picture(102))
    dataset = PairedDataset("hazy", root, patch=16)
    for seed in range(5):
        item = dataset.training_item(1, np.random.default_rng(seed))
        assert item["inputs"].shape == (3, 16, 16)
        assert torch.equal(item["inputs"], item["data_samples"]["gt"])
        assert set(item["data_samples"]) == {"gt", "generative"}


def test_a_generative_item_is_clean(root):
    dataset = PairedDataset("hazy", root, patch=16)
    item = dataset.training_item(0, np.random.default_rng(0), generative=True)
    assert torch.equal(item["inputs"], item["data_samples"]["gt"])
    restoring = dataset.training_item(0, np.random.default_rng(0))
    assert torch.equal(restoring["data_samples"]["gt"], item["data_samples"]["gt"])
    assert not torch.equal(restoring["inputs"], item["inputs"])


def test_pictures_smaller_than_the_patch_are_filled(root):
    item = PairedDataset("hazy", root, patch=64).training_item(0, np.random.default_rng(0))
    assert item["inputs"].shape == (3, 64, 64)


def test_pipelines_may_be_given(root):
    steps = ["LoadPair", {"type": "CenterCropPair", "size": 8}, "PackPair"]
    pipeline = [{"type": step} if isinstance(step, str) else step for step in steps]
    dataset = PairedDataset("hazy", root, pipeline=pipeline, eval_pipeline=pipeline)
    first = dataset.training_item(0, np.random.default_rng(0))["inputs"]
    assert torch.equal(first, dataset[0]["inputs"])
    np.testing.assert_array_equal(first.permute(1, 2, 0), picture(1)[8:16, 11:19])


def test_subfolders_are_part_of_the_name(tmp_path):
    for scene in ("a", "b"):
        write(tmp_path / "LQ" / scene / "1.png", picture(0))
        write(tmp_path / "GT" / scene / "1.png", picture(0))
    dataset = PairedDataset("hazy", tmp_path, recursive=True)
    assert [record["name"] for record in dataset.records] == ["a/1", "b/1"]


def test_relative_roots_start_from_the_data_folder(root, monkeypatch):
    monkeypatch.setenv("DTIR_DATA", str(root.parent))
    assert len(PairedDataset("hazy", root.name)) == 3
    monkeypatch.delenv("DTIR_DATA")
    (root / "data").mkdir()
    (root / "data" / "mine").symlink_to(root)
    monkeypatch.chdir(root)
    assert len(PairedDataset("hazy", "mine")) == 3


def test_a_missing_folder_names_itself_and_the_variable(root, monkeypatch):
    monkeypatch.setenv("DTIR_DATA", "/some/where")
    with pytest.raises(DatasetError, match=r"no folder '/some/where/none'.*data_root.*DTIR_DATA.*now '/some/where'"):
        PairedDataset("hazy", "none")
    monkeypatch.delenv("DTIR_DATA")
    with pytest.raises(DatasetError, match=r"no folder 'data/none'.*DTIR_DATA.*not set"):
        PairedDataset("hazy", "none")
    with pytest.raises(DatasetError, match=r"no folder '.*/degraded'"):
        PairedDataset("hazy", root, lq_dir="degraded")


def test_an_empty_folder_is_an_error(root):
    (root / "empty").mkdir()
    (root / "empty" / "notes.txt").touch()
    with pytest.raises(DatasetError, match=r"no pictures in '.*/empty'"):
        PairedDataset("hazy", root, lq_dir="empty")


def test_missing_partners_are_counted_and_up_to_five_named(root):
    for number in range(20, 24):
        write(root / "LQ" / f"only{number}.png", picture(0))
        write(root / "GT" / f"clean{number}.png", picture(0))
    with pytest.raises(DatasetError, match="8 pictures have no partner") as caught:
        PairedDataset("hazy", root)
    message = str(caught.value)
    assert f"'{root}/LQ/only20.png' has no partner in '{root}/GT'" in message
    assert f"'{root}/GT/clean20.png' has no partner in '{root}/LQ'" in message
    assert message.count("has no partner in") == 5
    assert "and 3 more" in message


def test_two_files_of_one_name_are_an_error(root):
    write(root / "GT" / "p1.png", picture(0))
    with pytest.raises(DatasetError, match=r"p1\.bmp' and '.*p1\.png' have one name, 'p1'"):
        PairedDataset("hazy", root)


def test_different_sizes_are_an_error_when_the_pair_is_loaded(root):
    write(root / "LQ" / "p2.png", picture(0, 24, 31))
    dataset = PairedDataset("hazy", root, patch=16)
    assert dataset[0]["inputs"].shape == (3, 24, 30)
    for load in (lambda: dataset[1], lambda: dataset.training_item(1, np.random.default_rng(0))):
        with pytest.raises(DatasetError, match=r"LQ '.*LQ/p2\.png' is 31x24, GT '.*GT/p2\.bmp' is 30x24"):
            load()


def test_a_truncated_picture_is_an_error_that_names_the_file(root):
    path = root / "LQ" / "p1.png"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ImageFileError, match=r"LQ/p1\.png' is damaged"):
        PairedDataset("hazy", root)[0]


@pytest.mark.parametrize("task", ["", None, 3, "hazy@REVIDE"])
def test_a_task_is_a_name(root, task):
    with pytest.raises(TaskError, match="expected the name"):
        PairedDataset(task, root)


def test_real_pairs_have_the_stated_input_quality(data_dir):
    dataset = PairedDataset("noisy", data_dir / "real10" / "noisy")
    items = [dataset[index] for index in range(len(dataset))]
    errors = [(item["inputs"].double() - item["data_samples"]["gt"].double()).square().mean() for item in items]
    psnr = torch.stack([10 * torch.log10(255**2 / error) for error in errors]).mean()
    assert len(items) == 6
    assert abs(psnr - 14.92) < 0.01
