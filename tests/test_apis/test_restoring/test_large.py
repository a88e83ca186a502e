"""A file restored in bands of rows is that restored whole."""

from types import MappingProxyType

import numpy as np
import pytest
import tifffile
import torch
from torch import nn

from dtir.apis import RestorationInferencer
from dtir.apis.restoring.file_restoring import FileRestorer
from dtir.apis.restoring.wish import Wish
from dtir.core.errors import ImageFileError
from dtir.imaging.files import read_picture
from dtir.imaging.rows import RowFile


class Smoothing(nn.Module):
    tasks = ("noisy", "low-light")
    num_timesteps = 2

    def __init__(self):
        super().__init__()
        self.register_buffer("matched_t", torch.tensor([1, 2]))

    def restore(self, lq, t):
        return nn.functional.avg_pool2d(lq, 3, 1, 1) * (1.5 if t[0] == 2 else 1)


class Sure(nn.Module):
    """An estimator that finds noise, once in bright pictures and never in others."""

    classes = ("noisy",)

    def forward(self, lq):
        return torch.tensor([[9.0]])


class SureOfTheStep(Sure):
    """One that also tells the step, by the brightness of what it looks at."""

    steps = MappingProxyType({"noisy": (0, 1)})

    def step_of(self, picture, task):
        return int(picture.mean() > 0.1)


class SureOfBoth(nn.Module):
    """One that finds noise in a dark picture."""

    classes = ("noisy", "low-light")

    def forward(self, lq):
        return torch.tensor([[0.0, 1.0]])


class Unsure(nn.Module):
    """One that knows of nothing, and has any smoothing tried out."""

    classes, least_confidence = ("noisy", "low-light"), 0.9
    trials = MappingProxyType({"noisy": -float("inf")})

    def forward(self, lq):
        return torch.zeros(1, 2)


def restored(source, target, large, wish, estimator=None):
    network = Smoothing()
    network.estimator = estimator
    passes = RestorationInferencer(network, device="cpu", tile=64, overlap=16).passes
    return FileRestorer(passes, wish, large=large)(source, target)


@pytest.fixture
def pages(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 65535, (2, 150, 100, 4)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"], resolution=(300, 300))
    return tmp_path / "a.tif"


@pytest.mark.parametrize(
    ("wish", "estimator"),
    [
        (Wish("noisy", strength=0.5), None),
        (Wish("auto"), Sure()),
        (Wish("auto"), SureOfBoth()),
        (Wish("auto"), Unsure()),
        (Wish(t=0), None),
        (Wish("noisy", "auto"), SureOfTheStep()),
        (Wish(t="auto"), SureOfTheStep()),
    ],
)
def test_bands_give_the_same_file(pages, tmp_path, wish, estimator):
    outcomes = [restored(pages, tmp_path / str(n) / "a.tif", n, wish, estimator) for n in (1, 10**9)]
    assert str(outcomes[0]) == str(outcomes[1])
    assert outcomes[0].changed
    # Blended tiles are summed in another order, which may round the last of 16 bits differently.
    bands, whole = (tifffile.imread(tmp_path / str(n) / "a.tif").astype(int) for n in (1, 10**9))
    assert np.abs(bands - whole).max() <= 1
    assert [path.name for path in (tmp_path / "1").iterdir()] == ["a.tif"]


@pytest.mark.parametrize("last", [7, 9])
def test_bands_of_one_colour_are_left_unless_the_last_differs(tmp_path, last):
    pixels = np.full((150, 100, 3), 7, np.uint16)
    pixels[-1, -1, -1] = last
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    outcome = restored(tmp_path / "a.tif", tmp_path / "out/a.tif", 1, Wish("auto"), Sure())
    copied = (tmp_path / "out/a.tif").read_bytes() == (tmp_path / "a.tif").read_bytes()
    assert (outcome.changed, copied) == (last != 7, last == 7)


@pytest.mark.parametrize("large", [1, 10**9])
def test_no_strength_is_the_file_bit_for_bit(pages, tmp_path, large):
    outcome = restored(pages, tmp_path / "out/a.tif", large, Wish("noisy", strength=0))
    assert str(outcome) == "left as it is: strength 0"
    assert (tmp_path / "out/a.tif").read_bytes() == pages.read_bytes()
    other = tmp_path / "out/a.png"
    restored(pages, other, large, Wish("noisy", strength=0))
    np.testing.assert_array_equal(read_picture(other).rgb, read_picture(pages).rgb)


@pytest.mark.parametrize("large", [1, 10**9])
@pytest.mark.parametrize("wish", [Wish("noisy", "auto"), Wish("auto", "auto")])
def test_a_file_whose_step_is_0_is_the_same_bit_for_bit(pages, tmp_path, large, wish):
    estimator = SureOfTheStep()
    estimator.step_of = lambda picture, task: 0
    outcome = restored(pages, tmp_path / "out/a.tif", large, wish, estimator)
    assert str(outcome) == "left as it is: nothing to do"
    assert (tmp_path / "out/a.tif").read_bytes() == pages.read_bytes()


def test_kept_rows_may_be_written_to(tmp_path):
    rows = RowFile(tmp_path, 5, 3, np.float32)
    given = np.arange(60, dtype=np.float32).reshape(4, 5, 3)
    rows.append(given)
    read = rows(1, 3)
    np.testing.assert_array_equal(read, given[1:3])
    # PyTorch warns of arrays that may not be.
    assert read.flags.writeable


def test_a_large_file_that_ends_early_leaves_nothing(pages, tmp_path):
    pages.write_bytes(pages.read_bytes()[:-70_000])
    with pytest.raises(ImageFileError, match=r"a\.tif"):
        restored(pages, tmp_path / "out/a.tif", 1, Wish("noisy"))
    assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []


class Lifting(Smoothing):
    """Doubles the brightness of what is darker than .4 for "noisy"."""

    def restore(self, lq, t):
        return torch.where(lq < 0.4, 2 * lq, lq)


@pytest.mark.parametrize("dark", [slice(0, 200), slice(0, 900)])
def test_bands_are_tried_by_what_a_whole_picture_is(tmp_path, dark):
    # A stripe beside the middle 768 pixels, which is not seen, and one that reaches into it.
    pixels = np.full((64, 2000, 3), 153, np.uint8)
    pixels[:, dark] = 77
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb")
    network, outcomes = Lifting(), []
    network.estimator = Unsure()
    network.estimator.trials = {"noisy": 0.6}
    for large in (1, 10**9):
        passes = RestorationInferencer(network, device="cpu", tile=64, overlap=16).passes
        outcomes.append(FileRestorer(passes, Wish("auto"), large=large)(tmp_path / "a.tif", tmp_path / f"{large}.tif"))
    assert [outcome.changed for outcome in outcomes] == [dark.stop == 900] * 2
    assert outcomes[0].passes == outcomes[1].passes
