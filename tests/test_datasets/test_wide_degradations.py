"""The degradations with wide ranges that the universal model is trained on, and damage upon damage."""

import cv2
import numpy as np
import pytest

from dtir.datasets.degradations import (
    CastShadow,
    Compound,
    Degradation,
    LensDrops,
    RecordedHaze,
    RecordedRain,
    SceneBlur,
    UnderExposure,
    VideoBlur,
)
from dtir.datasets.degradations.camera import coloured_noise
from dtir.datasets.transforms import DegradeAgain, ThickenHaze
from dtir.imaging.files import read_rgb
from dtir.imaging.listing import list_images
from dtir.registry import DEGRADATIONS

KINDS = ("CameraNoise", "CameraJPEG", "UnderExposure", "SceneBlur", "VideoBlur", "LensDrops", "CastShadow", "NoDamage")


class Brighter(Degradation):
    def degrade(self, image, rng, severity):
        return image + np.float32(severity)


class Twice(Degradation):
    margin = 5

    def degrade(self, image, rng, severity):
        return image * 2


def picture(height: int = 72, width: int = 64) -> np.ndarray:
    rng = np.random.default_rng(1)
    return np.clip(cv2.GaussianBlur(rng.random((height, width, 3), np.float32), (0, 0), 1.5), 0, 1)


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(max(np.square(a - b).mean(), 1e-10)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (40, 56)])
def test_results_are_pictures_of_the_same_size_and_repeat(kind, shape):
    degradation, image = DEGRADATIONS.build({"type": kind}), picture(*shape)
    before = image.copy()
    first, again = (degradation(image, np.random.default_rng(7), 0.6) for _ in range(2))
    assert first.shape == image.shape
    assert first.dtype == np.float32
    assert first.min() >= 0
    assert first.max() <= 1
    assert np.array_equal(first, again)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    "kind", ["CameraNoise", "CameraJPEG", "UnderExposure", "SceneBlur", "VideoBlur", "LensDrops", "CastShadow"]
)
def test_more_severity_is_more_damage(kind):
    degradation, image = DEGRADATIONS.build({"type": kind}), picture(96, 96)
    mean = [
        np.mean([psnr(degradation(image, np.random.default_rng(k), s), image) for k in range(12)]) for s in (0.1, 1)
    ]
    assert mean[0] > mean[1] + 3


def test_no_severity_leaves_nearly_everything():
    image = picture()
    assert np.abs(UnderExposure()(image, np.random.default_rng(0), 0.0) - image).mean() < 0.02
    assert np.abs(SceneBlur()(image, np.random.default_rng(1), 0.0) - image).mean() < 0.02
    assert np.abs(VideoBlur()(image, np.random.default_rng(1), 0.0) - image).max() < 1e-5


def test_frames_are_averaged_as_displayed():
    # Black and white in turns: the mean of linear light would be 0.5 ** (1 / 2.2) = 0.73.
    image = np.zeros((96, 96, 3), np.float32)
    image[::2] = 1
    means = [VideoBlur()(image, np.random.default_rng(seed), 0.8)[32:-32, 32:-32].mean() for seed in range(12)]
    assert np.mean(means) == pytest.approx(0.5, abs=0.02)


def test_the_clean_picture_is_the_middle_frame(monkeypatch):
    # A bright spot stays in its place in at least that frame, without objects that may hide it.
    monkeypatch.setattr(VideoBlur, "_with_object", lambda self, image, behind, rng, extent: behind)
    image = np.zeros((65, 65, 3), np.float32)
    image[32, 32] = 1
    for seed in range(20):
        assert VideoBlur()(image, np.random.default_rng(seed), 0.6)[32, 32].min() > 1 / 16
        first, *_, last = VideoBlur._path(np.random.default_rng(seed), 20.0)[:, :2]
        assert first @ last < 0


def test_coloured_noise_has_unit_variance_in_all_channels():
    rng = np.random.default_rng(0)
    variances = np.mean([coloured_noise((48, 48, 3), rng).var((0, 1)) for _ in range(40)], axis=0)
    assert np.allclose(variances, 1, atol=0.08)


def test_drops_on_a_lens_are_tinted():
    image = np.full((96, 96, 3), 0.3, np.float32)
    spreads = [np.ptp(LensDrops()(image, np.random.default_rng(k), 0.6), axis=-1).max() for k in range(8)]
    assert min(spreads) > 0.002
    assert max(spreads) < 0.2


def test_shadows_leave_what_they_do_not_fall_on():
    image = np.full((96, 96, 3), 0.5, np.float32)
    results = [CastShadow()(image, np.random.default_rng(seed), 0.6) for seed in range(20)]
    assert all(result.max() <= 0.5 + 1e-6 for result in results)
    assert any(np.isclose(result, 0.5).all(-1).any() and result.min() < 0.3 for result in results)


def test_another_damage_joins_in_a_share_of_the_pictures_on_its_side():
    image, once = np.full((2, 2, 3), 0.1, np.float32), {"degradation": {"type": Brighter}, "severity": (0.2, 0.2)}

    def results(**options):
        compound = Compound({"type": Twice}, **options)
        return [round(float(compound(image, np.random.default_rng(k), 0).max()), 3) for k in range(200)]

    assert set(results()) == {0.2}
    assert set(results(before=[once], share=1)) == {0.6}
    assert set(results(after=[once], share=1)) == {0.4}
    assert 0.15 < np.mean(np.array(results(after=[once], share=0.25)) == 0.4) < 0.35
    assert Compound({"type": Brighter}, after=[{"degradation": {"type": Twice}}]).margin == 5


def test_recorded_rain_lays_the_streaks_of_a_pair_over_another_picture(tmp_path):
    for folder, value in (("LQ", 140), ("GT", 100)):
        (tmp_path / "rain" / folder).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "rain" / folder / "1.png"), np.full((20, 20, 3), value, np.uint8))
    rain = RecordedRain([tmp_path / "rain"])
    image = np.full((30, 12, 3), 0.2, np.float32)
    assert np.allclose(rain(image, np.random.default_rng(0), 0.5), 0.2 + 40 / 255, atol=1e-6)
    assert np.allclose(rain(image, np.random.default_rng(0), 0.25), 0.2 + 20 / 255, atol=1e-6)


def hazy_pair(seed=2):
    """A picture, and the same in white haze of a transmission of 0.6 in its left half and 0.3 in its right."""
    gt = np.random.default_rng(seed).random((40, 60, 3), np.float32) * 0.9
    there = np.where(np.arange(60) < 30, 0.6, 0.3).astype(np.float32)[None, :, None]
    return 1 - (1 - gt) * there, gt


@pytest.mark.parametrize("folder", ["hazy", "hazy2"])
def test_indoor_pairs_of_sots_are_white_haze(folder, data_dir):
    root = data_dir / "train_pairs" / folder
    for path in list_images(root / "LQ"):
        lq, gt = (read_rgb(side) for side in (path, root / "GT" / path.name))
        results = {"lq": lq, "gt": gt, "generative": False, "rng": np.random.default_rng(0)}
        again = ThickenHaze(0.5).transform(results)["lq"]
        assert psnr(again / np.float32(255), lq / np.float32(255)) > 55


def test_recorded_haze_lies_as_thick_over_another_picture(tmp_path):
    gt = np.full((30, 30, 3), 100, np.uint8)
    lq = np.rint(255 - (255 - gt) * 0.6).astype(np.uint8)
    for folder, image in (("LQ", lq), ("GT", gt)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "1.png"), image)
    haze = RecordedHaze(tmp_path)
    black = np.zeros((20, 30, 3), np.float32)
    for severity in (0.0, 0.25, 0.5, 1.0):
        assert haze(black, np.random.default_rng(0), severity) == pytest.approx(1 - 0.6 ** (2 * severity), abs=0.004)


def test_haze_of_a_pair_becomes_thicker_and_thinner():
    lq, gt = ((255 * picture).round().astype(np.uint8) for picture in hazy_pair())
    inside = (slice(None), [*range(28), *range(32, 60)])

    def at(severity):
        results = {"lq": lq, "gt": gt, "generative": False, "rng": np.random.default_rng(0)}
        return ThickenHaze(severity).transform(results)["lq"][inside].astype(int)

    assert np.abs(at(0.0) - gt[inside]).max() == 0
    assert np.abs(at(0.5) - lq[inside]).max() <= 1
    squared = 255 - (255.0 - gt) * np.where(np.arange(60) < 30, 0.36, 0.09)[None, :, None]
    assert np.abs(at(1.0) - squared[inside]).max() <= 2
    generative = {"lq": gt, "gt": gt, "generative": True}
    assert ThickenHaze(0.5).transform(generative)["lq"] is gt


def test_a_real_pair_is_degraded_further_and_keeps_its_clean_picture():
    lq, gt = np.full((4, 4, 3), 50, np.uint8), np.full((4, 4, 3), 90, np.uint8)
    step = DegradeAgain({"type": Brighter}, severity=0.2)
    results = step.transform({"lq": lq, "gt": gt, "generative": False, "rng": np.random.default_rng(0)})
    assert (results["lq"] == 101).all()
    assert results["gt"] is gt
