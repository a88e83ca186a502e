"""Which damages a sample has: from the degradations that were joined to the batch of an estimator's training."""

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate

from dtir.core.errors import DatasetError
from dtir.datasets import MultiTaskDataset, SampleKey, SyntheticDataset
from dtir.datasets.degradations import TASK_DEGRADATIONS, Compound, Degradation
from dtir.datasets.transforms import Degrade, DegradeAgain
from dtir.models import RestorationDataPreprocessor
from dtir.registry import DEGRADATIONS

CLEAN = np.full((16, 16, 3), 51, np.uint8)


class Brighter(Degradation):
    task = "noisy"

    def degrade(self, image, rng, severity):
        return image + np.float32(severity)


class Nameless(Brighter):
    task = None


def joined(kind=Brighter, severity=(0.2, 0.2), **options):
    after = [{"degradation": {"type": kind}, "severity": severity}]
    return Compound({"type": Brighter}, after=after, **{"share": 1.0, **options})


def transformed(step, lq=CLEAN, seed=0):
    sample = {"lq": lq, "gt": CLEAN, "generative": False, "rng": np.random.default_rng(seed)}
    return step.transform(sample)


def training_set(tasks=("hazy", "noisy", "clean"), tell_damages=True, **options):
    sets = [
        SyntheticDataset(
            task, "asset://photos", ["rocket.jpg"], joined(**options) if task == "hazy" else Brighter(), 0.1, patch=8
        )
        for task in tasks
    ]
    return MultiTaskDataset(sets, tell_damages=tell_damages)


def test_every_degradation_of_a_task_names_it():
    for task, name in TASK_DEGRADATIONS.items():
        assert DEGRADATIONS.get(name).task == task
    assert joined().task == "noisy"


def test_what_joins_in_is_told_with_what_it_changed():
    damages = transformed(Degrade(joined(), 0.1))["damages"]
    assert [(damage.kind, damage.task) for damage in damages] == [("", None), ("Brighter", "noisy")]
    assert np.allclose([damage.error for damage in damages], [0.1**2, 0.2**2], rtol=1e-5)
    assert "damages" not in transformed(Degrade(joined(share=0.0), 0.1))
    assert "damages" not in transformed(Degrade(lambda image, rng, severity: image, 0.1))


def test_compounds_in_compounds_are_told_part_by_part():
    inner = {"type": Compound, "main": {"type": Nameless}, "share": 1.0}
    inner["before"] = [{"degradation": {"type": Brighter}, "severity": (0.1, 0.1)}]
    outer = Compound({"type": Brighter}, after=[{"degradation": inner, "severity": (0.3, 0.3)}], share=1.0)
    damages = transformed(Degrade(outer, 0.2))["damages"]
    assert [damage.kind for damage in damages] == ["", "Brighter", "Nameless"]
    assert np.allclose([damage.error for damage in damages], [0.2**2, 0.1**2, 0.3**2], rtol=1e-4)


def test_a_real_pair_has_its_own_damage_whatever_is_laid_over_it():
    lq = CLEAN + np.uint8(51)
    for degradation in (Brighter(), Compound("NoDamage", after=[{"degradation": {"type": Brighter}}], share=1.0)):
        own, *others = transformed(DegradeAgain(degradation, 0.3), lq)["damages"]
        assert np.isclose(own.error, 0.2**2)
        assert [damage.task for damage in others if damage.error] == ["noisy"]


def test_telling_damages_changes_no_picture():
    compound = Compound(
        "Haze", before=[{"degradation": "GaussianNoise"}], after=[{"degradation": "RainStreaks"}], share=0.7
    )
    for seed in range(8):
        whole = compound(CLEAN.astype(np.float32) / np.float32(255), np.random.default_rng(seed), 0.5)
        assert np.array_equal(
            transformed(Degrade(compound, 0.5), seed=seed)["lq"], np.rint(whole * 255).astype(np.uint8)
        )


@pytest.mark.parametrize("name", ["degrade", "__call__"])
def test_a_compound_that_its_training_samples_would_not_have_is_refused(name):
    with pytest.raises(DatasetError, match=rf"Darker\.{name} would have no effect on training samples.*one_by_one"):
        type("Darker", (Compound,), {name: lambda self, image, rng, severity: image})


def test_a_compound_of_other_parts_has_them_in_samples_too():
    class Twice(Compound):
        def one_by_one(self, rng, severity):
            for _ in range(2):
                yield from super().one_by_one(rng, severity)

    twice = Twice({"type": Brighter})
    whole = twice(CLEAN.astype(np.float32) / np.float32(255), np.random.default_rng(0), 0.2)
    assert np.allclose(whole, 0.2 + 2 * 0.2)
    assert (transformed(Degrade(twice, 0.2))["lq"] == 153).all()


def test_items_tell_the_damage_of_every_task_and_repeat():
    data = training_set()
    keys = [SampleKey(0, draw, draw % 3, 0, False) for draw in range(3)]
    rows = torch.stack([data[key]["data_samples"]["damages"] for key in keys])
    assert rows.dtype == torch.float32
    assert rows[0, 0] > 0
    assert rows[0, 1] > rows[0, 0]
    assert not rows[0, 2]
    assert not rows[1:].any()
    assert torch.equal(
        rows, torch.stack([training_set()[key]["data_samples"]["damages"] for key in keys[::-1]])[[2, 1, 0]]
    )
    assert "damages" not in training_set(tell_damages=False)[keys[0]]["data_samples"]


def test_damages_of_other_tasks_are_left_out():
    samples = training_set(tasks=("hazy", "clean"))[SampleKey(0, 0, 0, 0, False)]["data_samples"]
    assert (samples["damages"] > 0).tolist() == [True, False]


def test_a_damage_without_a_task_is_named_where_it_would_be_told():
    key = SampleKey(0, 0, 0, 0, False)
    with pytest.raises(DatasetError, match=r"'Nameless' joins in on pictures of 'hazy' .* set task"):
        training_set(kind=Nameless)[key]
    assert training_set(kind=Nameless, tell_damages=False)[key]["data_samples"]["task"] == 0


def test_pictures_of_several_damages_make_a_batch_of_evaluation():
    data = SyntheticDataset("hazy", "asset://photos", degradation=joined(), severity=0.1)
    batch = pseudo_collate([MultiTaskDataset([data])[number] for number in range(4)])
    out = RestorationDataPreprocessor()(batch, training=False)["data_samples"]
    assert [sample["name"] for sample in out] == [record["name"] for record in data.records[:4]]


def test_where_gt_has_other_sides_no_damage_is_told():
    sample = {"lq": CLEAN, "gt": CLEAN.repeat(2, 0).repeat(2, 1), "generative": False, "rng": np.random.default_rng(0)}
    out = DegradeAgain(Brighter(), 0.2).transform(sample)
    assert "damages" not in out
    assert (out["lq"] == 102).all()


def test_the_damages_stay_with_their_samples():
    samples = {
        "gt": torch.zeros(3, 3, 8, 8, dtype=torch.uint8),
        "task": torch.tensor([0, 1, 2]),
        "damages": torch.eye(3),
        "generative": torch.tensor([False, False, True]),
    }
    out = RestorationDataPreprocessor()({"inputs": samples["gt"], "data_samples": samples}, training=True)
    assert torch.equal(out["data_samples"]["damages"], torch.eye(3)[[2, 0, 1]])
