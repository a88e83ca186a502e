import cv2
import numpy as np
import pytest
import torch

from dtir.core.errors import ConfigError, DatasetError
from dtir.datasets.transforms import (
    CenterCropPair,
    Degrade,
    LoadClean,
    LoadPair,
    PackPair,
    PictureCache,
    RandomCropPair,
    RandomFlipPair,
    RandomFlipRotate,
    ShrinkPair,
)
from dtir.datasets.transforms.geometry import reflect_window
from dtir.registry import TRANSFORMS

# What tells the LQ from the GT.
MARK = np.array([0, 0, 1], np.uint8)


def coordinates(height, width):
    """A picture whose first two channels hold every pixel's row and column."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, rows * 0], axis=2).astype(np.uint8)


def sample(height=30, width=40, seed=0, generative=False):
    gt = coordinates(height, width)
    return {"gt": gt, "lq": gt + MARK, "rng": np.random.default_rng(seed), "generative": generative}


def assert_aligned(results):
    np.testing.assert_array_equal(results["lq"] - results["gt"], np.zeros_like(results["gt"]) + MARK)


def test_transforms_are_built_from_configs():
    assert TRANSFORMS.build({"type": "RandomCropPair", "patch": 8}).patch == 8


def test_crops_are_aligned_and_reach_every_position():
    crop = RandomCropPair(28)
    corners = set()
    for seed in range(300):
        results = crop(sample(seed=seed))
        assert results["gt"].shape == (28, 28, 3)
        assert_aligned(results)
        corners.add(tuple(results["gt"][0, 0, :2].tolist()))
    assert corners == {(top, left) for top in range(3) for left in range(13)}


def test_the_patch_inside_the_margin_lies_inside_the_picture():
    for seed in range(50):
        results = RandomCropPair(20, margin=8)(sample(seed=seed))
        assert results["gt"].shape == (36, 36, 3)
        patch = CenterCropPair(20)(results)["gt"]
        assert (np.diff(patch[:, 0, 0]) == 1).all()
        assert (np.diff(patch[0, :, 1]) == 1).all()


@pytest.mark.parametrize(("height", "width"), [(5, 40), (30, 1), (1, 1), (7, 7)])
def test_small_pictures_are_continued_by_reflection(height, width):
    results = RandomCropPair(24, margin=3)(sample(height, width))
    assert results["gt"].shape == (30, 30, 3)
    assert_aligned(results)
    assert np.abs(np.diff(results["gt"][:, 0, 0].astype(int))).max() <= 1
    assert set(np.unique(results["gt"][..., 0])) == set(range(height)) or height > 24


@pytest.mark.parametrize("start", [-9, -4, 0, 3])
def test_reflection_is_that_of_numpy(start):
    picture = coordinates(4, 6)
    padded = np.pad(picture, ((9, 9), (9, 9), (0, 0)), mode="reflect")
    window = reflect_window(picture, start, start, 8, 8)
    np.testing.assert_array_equal(window, padded[start + 9 : start + 17, start + 9 : start + 17])


def test_flips_and_turns_are_aligned_and_reach_all_eight_orientations():
    seen = set()
    for seed in range(100):
        results = RandomFlipRotate()(sample(6, 6, seed=seed))
        assert_aligned(results)
        seen.add(results["gt"].tobytes())
    assert len(seen) == 8


def test_mirrored_pairs_are_never_turned_by_a_quarter():
    seen = set()
    for seed in range(60):
        results = RandomFlipPair()(sample(6, 9, seed=seed))
        assert_aligned(results)
        assert results["gt"].shape == (6, 9, 3)
        seen.add(results["gt"].tobytes())
    assert len(seen) == 4


def test_a_patch_of_the_sample_goes_before_that_of_the_crops():
    picture = np.zeros((40, 40, 3), np.uint8)
    sample = {"lq": picture, "gt": picture, "rng": np.random.default_rng(0), "patch": 24}
    wide = RandomCropPair(8, margin=3).transform(sample)
    assert wide["gt"].shape == (30, 30, 3)
    assert CenterCropPair(8).transform(wide)["gt"].shape == (24, 24, 3)


def test_centre_crop_keeps_short_sides():
    results = CenterCropPair(20)(sample(11, 40))
    assert results["gt"].shape == (11, 20, 3)
    assert results["gt"][0, 0, :2].tolist() == [0, 10]
    assert_aligned(results)


def test_shrinking_bounds_the_longer_side_only_where_needed():
    results = ShrinkPair(20)(sample(30, 40))
    assert results["gt"].shape == results["lq"].shape == (15, 20, 3)
    assert ShrinkPair(40)(sample(30, 40))["gt"].shape == (30, 40, 3)


def darken(image, rng, severity):
    assert image.dtype == np.float32
    return image * severity


def test_degraded_pictures_are_rounded_to_eight_bits():
    results = Degrade(darken, severity=0.76)(sample())
    assert results["lq"].dtype == np.uint8
    np.testing.assert_array_equal(results["lq"], np.rint(results["gt"] * 0.76).astype(np.uint8))


def test_degraded_values_are_clipped_not_wrapped():
    results = Degrade(lambda image, rng, severity: image * 100 - 1)(sample())
    assert results["lq"][0, 0, 0] == 0
    assert results["lq"][20, 20, 0] == 255


def test_degradations_get_contiguous_pictures_of_their_own():
    def blacken(image, rng, severity):
        assert image.flags.c_contiguous
        image[:] = 0
        return image

    for seed in range(8):
        turned = RandomFlipRotate()(sample(seed=seed))
        assert Degrade(blacken)(turned)["lq"].max() == 0
        assert turned["gt"].max() > 0


def test_generative_samples_are_not_degraded():
    clean = sample(generative=True)
    clean["lq"] = clean["gt"]

    def never(image, rng, severity):
        raise AssertionError("a generative sample needs no degradation")

    assert Degrade(never)(clean)["lq"] is clean["gt"]


def test_a_severity_range_is_drawn_from_per_sample():
    drawn = []
    degrade = Degrade(lambda image, rng, severity: drawn.append(severity) or image, severity=(0.2, 0.6))
    for seed in (0, 1, 2, 0):
        degrade(sample(seed=seed))
    assert drawn[0] == drawn[3]
    assert len(set(drawn)) == 3
    assert 0.2 <= min(drawn) <= max(drawn) <= 0.6


@pytest.mark.parametrize("severity", [-0.1, 1.1, (0.5, 2), (0.6, 0.4), (0.1, 0.2, 0.3)])
def test_severities_out_of_range_are_refused(severity):
    with pytest.raises(ConfigError, match="severity"):
        Degrade(darken, severity)


def test_items_are_uint8_tensors_with_the_named_entries():
    results = {**sample(), "name": "a"}
    item = PackPair(meta_keys=["name"])(results)
    assert item["inputs"].shape == item["data_samples"]["gt"].shape == (3, 30, 40)
    assert item["inputs"].dtype == torch.uint8
    assert item["data_samples"]["gt"][:, 7, 9].tolist() == [7, 9, 0]
    assert item["inputs"][:, 7, 9].tolist() == [7, 9, 1]
    assert set(item["data_samples"]) == {"gt", "generative", "name"}


def write(path, height=8, width=8, value=0):
    cv2.imwrite(str(path), np.full((height, width, 3), value, np.uint8))
    return str(path)


def test_the_cache_drops_the_least_recently_used_pictures(tmp_path):
    paths = [write(tmp_path / f"{name}.png") for name in "abc"]
    cache = PictureCache(megabytes=2 * 8 * 8 * 3 / 2**20)
    first, _ = cache.read(paths[0]), cache.read(paths[1])
    assert cache.read(paths[0]) is first
    cache.read(paths[2])
    assert len(cache) == 2
    assert cache.used == cache.limit
    assert cache.read(paths[0]) is first


def test_the_cache_never_exceeds_its_limit(tmp_path):
    cache = PictureCache(megabytes=0)
    path = write(tmp_path / "a.png")
    assert cache.read(path) is not cache.read(path)
    assert len(cache) == cache.used == 0


def test_the_cache_sees_that_a_file_has_changed(tmp_path):
    cache = PictureCache(megabytes=1)
    path = write(tmp_path / "a.png", value=10)
    assert cache.read(path).max() == 10
    write(tmp_path / "a.png", value=20, width=9)
    assert cache.read(path).max() == 20


def test_cached_pictures_cannot_be_changed(tmp_path):
    path = write(tmp_path / "a.png")
    with pytest.raises(ValueError, match="read-only"):
        LoadClean()({"gt_path": path})["gt"][0] = 1


def test_a_generative_pair_loads_only_the_clean_picture(tmp_path):
    gt = write(tmp_path / "gt.png", value=9)
    results = LoadPair()({"gt_path": gt, "lq_path": "missing.png", "name": "a", "generative": True})
    assert results["lq"] is results["gt"]


def test_different_sizes_in_a_pair_are_an_error_that_names_both(tmp_path):
    pair = {"gt_path": write(tmp_path / "gt.png"), "lq_path": write(tmp_path / "lq.png", 8, 9)}
    with pytest.raises(DatasetError, match=r"'a' differs in size: LQ '.*lq\.png' is 9x8, GT '.*gt\.png' is 8x8"):
        LoadPair()({**pair, "name": "a", "generative": False})
