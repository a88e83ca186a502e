import cv2
import numpy as np
import pytest
import torch

from dtir.core.errors import DatasetError, TaskError
from dtir.datasets import SyntheticDataset
from dtir.registry import DATASETS
from dtir.tasks import TASKS

PHOTOS = {"coffee.png", "flower.jpg", "astronaut.png", "chelsea.png", "china.jpg", "motorcycle_left.png", "rocket.jpg"}


class Grain:
    """Noise of a standard deviation equal to the severity."""

    def __call__(self, image, rng, severity):
        return np.clip(image + severity * rng.standard_normal(image.shape, np.float32), 0, 1)


class Shift:
    """Shows the pixel 16 rows below: what lies outside the patch but inside the margin."""

    def __call__(self, image, rng, severity):
        return np.roll(image, -16, axis=0)


class Recorder:
    """Keeps the shapes and severities it was called with."""

    def __init__(self):
        self.shapes, self.severities = [], []

    def __call__(self, image, rng, severity):
        self.shapes.append(image.shape)
        self.severities.append(severity)
        return image


@pytest.fixture
def root(tmp_path):
    for number, (height, width) in enumerate([(90, 120), (70, 75), (40, 50)]):
        coarse = np.random.default_rng(number).random((6, 7, 3))
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
        cv2.imwrite(str(tmp_path / f"c{number}.png"), np.rint(smooth * 255).astype(np.uint8))
    return tmp_path


def equal(first, second):
    return torch.equal(first["inputs"], second["inputs"]) and torch.equal(
        first["data_samples"]["gt"], second["data_samples"]["gt"]
    )


def test_the_shipped_photographs_are_found():
    dataset = DATASETS.build(
        {"type": "SyntheticDataset", "task": "noisy", "data_root": "asset://photos", "degradation": Grain()}
    )
    names = {record["gt_path"].rsplit("/", 1)[1] for record in dataset.records}
    assert names == PHOTOS


@pytest.mark.parametrize("index", [0, 1, 2])
def test_training_items_depend_on_the_generator_alone(root, index):
    dataset = SyntheticDataset("noisy", root, degradation=Grain(), patch=32)
    fresh = SyntheticDataset("noisy", root, degradation=Grain(), patch=32, cache_mb=0)
    first = dataset.training_item(index, np.random.default_rng(5))
    dataset[0], dataset.training_item(1, np.random.default_rng(6))
    assert first["inputs"].shape == (3, 32, 32)
    assert equal(first, dataset.training_item(index, np.random.default_rng(5)))
    assert equal(first, fresh.training_item(index, np.random.default_rng(5)))
    assert not equal(first, dataset.training_item(index, np.random.default_rng(6)))


def test_pictures_smaller_than_the_patch_are_filled(root):
    item = SyntheticDataset("noisy", root, degradation=Grain(), patch=64).training_item(2, np.random.default_rng(0))
    assert item["inputs"].shape == item["data_samples"]["gt"].shape == (3, 64, 64)


def test_the_patch_is_a_crop_of_a_degraded_picture(root):
    dataset = SyntheticDataset("noisy", root, degradation=Shift(), patch=32)
    seen = set()
    for seed in range(20):
        item = dataset.training_item(0, np.random.default_rng(seed))
        lq, gt = item["inputs"], item["data_samples"]["gt"]
        assert torch.equal(lq[:, :16], gt[:, 16:])
        seen.add(gt.numpy().tobytes())
    assert len(seen) == 20


def test_a_degradation_may_declare_its_margin_and_severity(root):
    recorder = Recorder()
    SyntheticDataset("x", root, degradation=recorder, patch=20).training_item(0, np.random.default_rng(0))
    recorder.margin, recorder.severity = 5, 0.25
    SyntheticDataset("x", root, degradation=recorder, patch=20).training_item(0, np.random.default_rng(0))
    options = {"margin": 0, "severity": 0.75}
    SyntheticDataset("x", root, degradation=recorder, patch=20, **options).training_item(0, np.random.default_rng(0))
    assert recorder.shapes == [(52, 52, 3), (30, 30, 3), (20, 20, 3)]
    assert recorder.severities == [0.5, 0.25, 0.75]


def test_a_generative_item_is_clean_and_costs_no_degradation(root):
    recorder = Recorder()
    dataset = SyntheticDataset("noisy", root, degradation=recorder, patch=32)
    item = dataset.training_item(0, np.random.default_rng(0), generative=True)
    assert item["data_samples"]["generative"] is True
    assert torch.equal(item["inputs"], item["data_samples"]["gt"])
    assert recorder.shapes == []


def test_evaluation_items_are_whole_and_the_same_each_time(root):
    dataset = SyntheticDataset("noisy", root, degradation=Grain(), severity=0.1)
    item = dataset[0]
    clean = cv2.imread(str(root / "c0.png"), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(item["data_samples"]["gt"].permute(1, 2, 0), clean)
    assert equal(item, dataset[0])
    assert equal(item, SyntheticDataset("noisy", root, degradation=Grain(), severity=0.1)[0])
    assert not equal(item, SyntheticDataset("noisy", root, degradation=Grain(), severity=0.1, seed=1)[0])
    assert not equal(item, SyntheticDataset("grainy", root, degradation=Grain(), severity=0.1)[0])
    samples = {key: value for key, value in item["data_samples"].items() if key != "gt"}
    path = str(root / "c0.png")
    assert samples == {"generative": False, "task_name": "noisy", "lq_path": path, "gt_path": path, "name": "c0"}


def test_two_pictures_of_one_size_are_degraded_differently(root):
    dataset = SyntheticDataset("noisy", root, ["c0.png", "c0.png"], degradation=Grain())
    assert not torch.equal(dataset[0]["inputs"], dataset[1]["inputs"])


def test_evaluation_may_crop_and_shrink(root):
    shift = SyntheticDataset("x", root, degradation=Shift(), eval_crop=40)[0]
    assert shift["inputs"].shape == (3, 40, 40)
    assert torch.equal(shift["inputs"][:, :24], shift["data_samples"]["gt"][:, 16:])
    assert SyntheticDataset("x", root, degradation=Shift(), eval_crop=60)[2]["inputs"].shape == (3, 40, 50)
    assert SyntheticDataset("x", root, degradation=Shift(), max_size=60)[0]["inputs"].shape == (3, 45, 60)


def test_files_choose_and_order_the_pictures(root):
    dataset = SyntheticDataset("noisy", root, ["c2.png", "c0.png"], degradation=Grain())
    assert [dataset[index]["data_samples"]["name"] for index in range(len(dataset))] == ["c2", "c0"]


def test_files_that_are_not_there_are_named(root):
    with pytest.raises(DatasetError, match=r"files names none\.png, nil\.jpg, not in '.*holds c0\.png, c1\.png, c2"):
        SyntheticDataset("noisy", root, ["c0.png", "none.png", "nil.jpg"], degradation=Grain())


def test_missing_and_empty_folders_are_errors(tmp_path):
    with pytest.raises(DatasetError, match=r"no folder '.*none'.*DTIR_DATA"):
        SyntheticDataset("noisy", tmp_path / "none", degradation=Grain())
    with pytest.raises(DatasetError, match=r"no folder '.*assets/nope'"):
        SyntheticDataset("noisy", "asset://nope", degradation=Grain())
    with pytest.raises(DatasetError, match="no pictures in"):
        SyntheticDataset("noisy", tmp_path, degradation=Grain())


def test_a_task_of_the_users_own_needs_a_degradation(root):
    assert len(SyntheticDataset("moire", root, degradation=Grain())) == 3
    with pytest.raises(TaskError, match=r"unknown task 'nosy'.*'noisy'"):
        SyntheticDataset("nosy", root)


@pytest.mark.parametrize("task", TASKS)
def test_each_of_the_ten_tasks_has_its_degradation(root, task):
    dataset = SyntheticDataset(task, root, patch=32)
    first, again = (dataset.training_item(0, np.random.default_rng(3)) for _ in range(2))
    assert equal(first, again)
    # A small crop may well lie beside every shadow and stroke, but not one of eight.
    items = [dataset.training_item(0, np.random.default_rng(seed)) for seed in range(8)]
    assert any(not torch.equal(item["inputs"], item["data_samples"]["gt"]) for item in items)
    assert equal(dataset[1], dataset[1])
