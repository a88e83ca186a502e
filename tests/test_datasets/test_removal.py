"""Degradations that remove: colour, surroundings, detail."""

import cv2
import numpy as np
import pytest

from dtir.datasets import SyntheticDataset
from dtir.datasets.degradations import BicubicDownsampling, Greyscale, Uncropping
from dtir.registry import DEGRADATIONS

NAMES = ["Greyscale", "Uncropping", "BicubicDownsampling"]


def picture(height: int = 40, width: int = 56) -> np.ndarray:
    rng = np.random.default_rng(1)
    return cv2.GaussianBlur(rng.random((height, width, 3), np.float32), (0, 0), 2)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (23, 3), (40, 56)])
def test_contract(name, shape):
    image = picture(*shape)
    before = image.copy()
    degrade = DEGRADATIONS.build({"type": name})
    out = degrade(image, np.random.default_rng(5), 0.6)
    assert out.shape == image.shape
    assert out.dtype == np.float32
    assert out.min() >= 0
    assert out.max() <= 1
    assert np.array_equal(image, before)
    assert np.array_equal(out, degrade(image, np.random.default_rng(5), 0.6))


@pytest.mark.parametrize("name", NAMES)
def test_no_severity_is_no_damage_and_more_is_worse(name):
    image = picture(64, 64)
    degrade = DEGRADATIONS.build({"type": name})
    errors = [np.abs(degrade(image, np.random.default_rng(2), s) - image).mean() for s in (0.0, 0.15, 0.3, 0.5)]
    assert errors[0] == pytest.approx(0, abs=1e-5)
    assert errors[0] < errors[1] < errors[2] < errors[3]


def test_greyscale_keeps_the_luma_and_fades_linearly():
    image = picture()
    luma = 0.299 * image[..., 0] + 0.587 * image[..., 1] + 0.114 * image[..., 2]
    grey = Greyscale()(image, np.random.default_rng(0), 0.5)
    np.testing.assert_allclose(grey, np.repeat(luma[..., None], 3, axis=2), atol=1e-6)
    np.testing.assert_array_equal(Greyscale()(image, np.random.default_rng(0), 0.9), grey)
    half = Greyscale()(image, np.random.default_rng(0), 0.25)
    np.testing.assert_allclose(half, (image + grey) / 2, atol=1e-6)


@pytest.mark.parametrize("severity", [0.2, 0.5, 0.8])
def test_uncropping_leaves_a_rectangle_of_the_right_area(severity):
    shape, kinds = (200, 300), set()
    for seed in range(30):
        mask = Uncropping().mask(shape, np.random.default_rng(seed), severity)
        assert mask.mean() == pytest.approx(severity, abs=0.01)
        rows, columns = np.flatnonzero(~mask.all(1)), np.flatnonzero(~mask.all(0))
        assert not mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].any()
        kinds.add((rows[0] > 0, rows[-1] < 199, columns[0] > 0, columns[-1] < 299))
    sides = {tuple(k == side for k in range(4)) for side in range(4)}
    assert kinds == sides | {(True,) * 4}


def test_uncropped_pixels_are_white_and_the_rest_untouched():
    image = picture() * 0.9
    mask = Uncropping().mask(image.shape[:2], np.random.default_rng(3), 0.5)
    out = Uncropping()(image, np.random.default_rng(3), 0.5)
    assert (out[mask] == 1).all()
    assert np.array_equal(out[~mask], image[~mask])


def test_bicubic_factor_is_logarithmic_in_severity():
    assert [BicubicDownsampling().factor(s) for s in (0, 0.25, 0.5, 0.75, 1)] == [1, 2, 4, 8, 16]


def test_bicubic_keeps_what_is_coarse_and_drops_what_is_fine():
    x = np.arange(128, dtype=np.float32)
    coarse = np.broadcast_to(0.5 + 0.3 * np.sin(2 * np.pi * x / 64), (128, 128))
    fine = np.broadcast_to(0.5 + 0.3 * np.sin(2 * np.pi * x / 4), (128, 128))
    inner = np.s_[32:-32, 32:-32]
    for wave, kept in ((coarse, 1.0), (fine, 0.0)):
        out = BicubicDownsampling()(np.repeat(wave[..., None], 3, 2), np.random.default_rng(0), 0.5)[..., 0]
        assert out[inner].std() == pytest.approx(kept * wave[inner].std(), abs=0.015)


def test_a_downsampled_crop_is_a_crop_of_the_downsampled_picture():
    image = cv2.resize(picture(), (160, 160), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    degrade, rng = BicubicDownsampling(), np.random.default_rng(0)
    margin = degrade.margin
    crop = degrade(np.ascontiguousarray(image[16:144, 16:144]), rng, 0.5)[margin:-margin, margin:-margin]
    whole = degrade(image, rng, 0.5)[16 + margin : 144 - margin, 16 + margin : 144 - margin]
    np.testing.assert_allclose(crop, whole, atol=1e-5)


def test_they_serve_tasks_beyond_the_ten():
    data = SyntheticDataset(
        "colorization", "asset://photos", files=["chelsea.png"], degradation="Greyscale", patch=16, eval_crop=24
    )
    for item in (data[0], data.training_item(0, np.random.default_rng(0))):
        assert (item["inputs"] == item["inputs"][:1]).all()
        assert (item["data_samples"]["gt"] != item["inputs"]).any()
