import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from torch.utils.data import DataLoader

from dtir.core.errors import DatasetError, TaskError
from dtir.datasets import MultiTaskDataset, PairedDataset, SampleKey, SyntheticDataset
from dtir.registry import DATA_SAMPLERS, DATASETS


class Grain:
    def __call__(self, image, rng, severity):
        return np.clip(image + severity * rng.standard_normal(image.shape, np.float32), 0, 1)


@pytest.fixture
def dataset(tmp_path):
    for task, count in (("noisy", 3), ("grainy", 2), ("sandy", 1)):
        (tmp_path / task).mkdir()
        for number in range(count):
            pixels = np.random.default_rng(number).integers(0, 256, (30, 40 + number, 3), np.uint8)
            cv2.imwrite(str(tmp_path / task / f"{task}{number}.png"), pixels)
    members = [
        {
            "type": "SyntheticDataset",
            "task": task,
            "data_root": str(tmp_path / task),
            "degradation": Grain(),
            "patch": 16,
        }
        for task in ("noisy", "grainy", "sandy")
    ]
    return DATASETS.build({"type": "MultiTaskDataset", "datasets": members, "seed": 7})


def load(dataset, batch_size=8, workers=0, rank=0, world_size=1, start=0):
    config = {"type": "MultiTaskBatchSampler", "sizes": dataset.sizes, "batch_size": batch_size, "seed": 7}
    sampler = DATA_SAMPLERS.build({**config, "rank": rank, "world_size": world_size})
    sampler.set_stage(1, [0, 2, 1], 0.25, num_batches=5, start=start)
    return list(DataLoader(dataset, batch_sampler=sampler, num_workers=workers))


def same_batches(first, second):
    return len(first) == len(second) and all(
        torch.equal(a["inputs"], b["inputs"])
        and all(torch.equal(a["data_samples"][key], b["data_samples"][key]) for key in ("gt", "task", "generative"))
        for a, b in zip(first, second, strict=True)
    )


def test_tasks_and_sizes_are_those_of_the_members(dataset):
    assert dataset.tasks == ("noisy", "grainy", "sandy")
    assert dataset.sizes == [3, 2, 1]
    assert len(dataset) == 6
    assert dataset.metainfo == {"tasks": dataset.tasks}


def test_training_batches_are_stacked_tensors(dataset):
    for batch in load(dataset):
        samples = batch["data_samples"]
        assert set(samples) == {"gt", "task", "generative"}
        assert batch["inputs"].shape == samples["gt"].shape == (8, 3, 16, 16)
        assert batch["inputs"].dtype == samples["gt"].dtype == torch.uint8
        assert samples["task"].dtype == torch.int64
        assert samples["generative"].tolist() == [False, False, False, True] * 2
        clean = (batch["inputs"] == samples["gt"]).flatten(1).all(dim=1)
        assert torch.equal(clean, samples["generative"])


def test_batches_do_not_depend_on_the_workers(dataset):
    batches = load(dataset)
    assert same_batches(batches, load(dataset, workers=2))
    assert same_batches(batches[3:], load(dataset, workers=2, start=3))


def test_batches_do_not_depend_on_the_processes(dataset):
    ranks = [load(dataset, batch_size=4, rank=rank, world_size=2) for rank in range(2)]
    for whole, first, second in zip(load(dataset), *ranks, strict=True):
        assert torch.equal(whole["inputs"], torch.cat([first["inputs"], second["inputs"]]))


def test_batches_depend_on_no_global_generator(dataset):
    np.random.seed(0)
    torch.manual_seed(0)
    batches = load(dataset)
    np.random.seed(1)
    torch.manual_seed(1)
    state = np.random.get_state()[1].copy()
    assert same_batches(batches, load(dataset))
    assert (np.random.get_state()[1] == state).all()


def test_an_item_depends_on_seed_stage_and_draw(dataset):
    def item(stage=1, draw=3, seed=7):
        return MultiTaskDataset(dataset.datasets, seed)[SampleKey(stage, draw, 0, 1, False)]["inputs"]

    assert torch.equal(item(), dataset[SampleKey(1, 3, 0, 1, False)]["inputs"])
    assert not torch.equal(item(), item(stage=2))
    assert not torch.equal(item(), item(draw=4))
    assert not torch.equal(item(), item(seed=8))


def test_validation_between_two_draws_disturbs_nothing(dataset):
    key = SampleKey(0, 11, 1, 1, False)
    before = dataset[key]["inputs"]
    for index in range(len(dataset)):
        assert dataset[index]["inputs"].dtype == torch.uint8
    assert torch.equal(before, dataset[key]["inputs"])


def test_integers_run_over_the_members_in_order(dataset):
    items = list(dataset[index] for index in range(len(dataset)))
    names = [item["data_samples"]["name"] for item in items]
    assert names == ["noisy0", "noisy1", "noisy2", "grainy0", "grainy1", "sandy0"]
    assert [item["data_samples"]["task"] for item in items] == [0, 0, 0, 1, 1, 2]
    assert items[4]["data_samples"]["task_name"] == "grainy"
    assert torch.equal(dataset[np.int64(4)]["inputs"], items[4]["inputs"])
    for index in (-1, 6):
        with pytest.raises(IndexError):
            dataset[index]


def test_evaluation_batches_may_hold_different_sizes(dataset):
    (batch,) = DataLoader(dataset, batch_size=6, collate_fn=pseudo_collate, num_workers=1)
    assert [tuple(lq.shape) for lq in batch["inputs"]][:3] == [(3, 30, 40), (3, 30, 41), (3, 30, 42)]
    assert list(batch["data_samples"]["task_name"]) == ["noisy"] * 3 + ["grainy"] * 2 + ["sandy"]


def test_any_dataset_with_the_two_methods_may_be_a_member():
    class Plain(torch.utils.data.Dataset):
        task = "plain"

        def __len__(self):
            return 2

        def __getitem__(self, index):
            return {"inputs": torch.zeros(3, 4, 4), "data_samples": {}}

        def training_item(self, index, rng, generative):
            return {"inputs": torch.tensor(rng.random()), "data_samples": {"generative": generative}}

    dataset = MultiTaskDataset([Plain()])
    assert dataset[1]["data_samples"] == {"task": 0}
    assert dataset[SampleKey(0, 5, 0, 0, True)]["data_samples"] == {"generative": True, "task": 0}


def test_a_task_may_have_several_test_sets_with_the_number_of_the_model(tmp_path):
    for side in ("LQ", "GT"):
        (tmp_path / side).mkdir()
        cv2.imwrite(str(tmp_path / side / "a.png"), np.zeros((8, 9, 3), np.uint8))
    members = [PairedDataset("noisy", tmp_path), PairedDataset("hazy", tmp_path)]
    dataset = MultiTaskDataset([*members, PairedDataset("noisy", tmp_path, test_set="Other")])
    assert (dataset.tasks, dataset.names) == (("noisy", "hazy"), ("noisy", "hazy", "noisy@Other"))
    samples = [dataset[index]["data_samples"] for index in range(3)]
    assert [sample["task_name"] for sample in samples] == ["noisy", "hazy", "noisy@Other"]
    assert [sample["task"] for sample in samples] == [0, 1, 0]
    dataset.number_tasks(("rainy", "hazy", "noisy"))
    assert [dataset[index]["data_samples"]["task"] for index in range(3)] == [2, 1, 2]
    with pytest.raises(TaskError, match="unknown task 'noisy'"):
        dataset.number_tasks(("rainy", "hazy"))
    with pytest.raises(DatasetError, match="needs test_set='name'"):
        MultiTaskDataset([*members, PairedDataset("noisy", tmp_path)])


def test_each_task_comes_once(dataset, tmp_path):
    member = SyntheticDataset("noisy", tmp_path / "sandy", degradation=Grain())
    for datasets in ([member, member], []):
        with pytest.raises(DatasetError, match="each task once"):
            MultiTaskDataset(datasets)
