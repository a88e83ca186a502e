"""The model that comes with the package: what its file and card promise, and that it restores."""

import numpy as np
import pytest

from dtir.apis import RestorationInferencer
from dtir.apis.models.files import read_facts
from dtir.apis.models.names import DEFAULT_MODEL, PACKAGED
from dtir.core.assets import ASSETS
from dtir.imaging.files import read_rgb
from dtir.tasks import CLEAN, TASKS

FILE = PACKAGED / f"{DEFAULT_MODEL}.safetensors"


@pytest.fixture(scope="module")
def model():
    return RestorationInferencer(FILE, device="cpu")


def crop() -> np.ndarray:
    return read_rgb(ASSETS / "photos" / "coffee.png")[100:196, 200:296]


def psnr(image: np.ndarray, gt: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(image.astype(np.float64) - gt).mean()))


def test_the_file_is_small_and_knows_ten_damages_and_clean_pictures():
    facts = read_facts(FILE)
    assert facts.size <= 10e6
    assert 1e6 <= facts.parameters <= 4e6
    assert facts.damages == TASKS
    assert set(facts.estimator["classes"]) == {*TASKS, CLEAN}
    assert facts.steps[CLEAN] == 0
    assert len(set(facts.steps.values())) == len(facts.steps)


def test_the_card_lies_beside_it():
    card = FILE.with_suffix(".md").read_text(encoding="utf-8")
    for heading in ("## Figures", "## Data and terms", "## What it cannot do"):
        assert heading in card


def test_it_removes_noise_and_lights_what_is_dark(model):
    gt, rng = crop() / 255, np.random.default_rng(0)
    noisy = np.rint(np.clip(gt + rng.normal(0, 50 / 255, gt.shape), 0, 1) * 255).astype(np.uint8)
    assert psnr(model.restore_array(noisy, task="noisy"), gt) > psnr(noisy / 255, gt) + 7
    dark = np.rint(255 * (gt**2.2 * 0.02) ** (1 / 2.2)).astype(np.uint8)
    assert psnr(model.restore_array(dark, task="low-light"), gt) > psnr(dark / 255, gt) + 4


def test_told_that_a_picture_is_clean_it_hardly_changes_it(model):
    assert psnr(model.restore_array(crop(), task=CLEAN), crop() / 255) > 30
