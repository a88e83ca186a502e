"""Shadows that are found by removing them from a small copy."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dtir.apis import RestorationInferencer
from dtir.apis.models.files import read_facts
from dtir.apis.models.names import find_model
from dtir.apis.restoring.trial import ALIKE, BLOCK, COPIED, DARK, EVEN, UNEVEN, evened, small_copy, tells
from dtir.core.errors import ImageFileError
from dtir.datasets import DrawnDataset


def ground(*brightness: float, columns: int = 32) -> torch.Tensor:
    """Stripes of brightness, equally wide, of a picture of 64 rows."""
    return torch.tensor(brightness).repeat_interleave(columns).expand(1, 3, 64, -1)


def test_a_shadow_that_is_gone_evens_a_ground_out_altogether():
    assert evened(ground(0.3, 0.6), ground(0.6, 0.6)) == 1


def test_the_share_is_that_of_the_variance_of_the_logarithm():
    before, after = ground(0.3, 0.6), ground(0.5, 0.6)
    expected = 1 - (math.log(0.62 / 0.52) / math.log(0.62 / 0.32)) ** 2
    assert evened(before, after) == pytest.approx(expected, abs=1e-5)
    assert DARK == 0.02


def test_what_stays_or_grows_uneven_is_not_evened_out():
    assert evened(ground(0.5, 0.6), ground(0.5, 0.6)) == 0
    assert evened(ground(0.5, 0.6), ground(0.48, 0.6)) == 0


@pytest.mark.parametrize(("dark", "share"), [(0.5, 1), (0.53, 0), (0.6, 0)])
def test_what_was_all_but_even_needs_no_evening(dark, share):
    assert (torch.log(ground(dark, 0.6)[0, 0, :, ::BLOCK] + DARK).std() >= UNEVEN) == share
    assert evened(ground(dark, 0.6), ground(0.6, 0.6)) == share


@pytest.mark.parametrize(("dark", "found"), [(0.4, True), (0.38, False)])
def test_a_scene_has_things_of_its_own(dark, found):
    # The dark half is brighter than before in both, and nearly as even as ground may be in the first alone.
    after = ground(dark, 0.6)
    spread = torch.log(after[0, 0, :, ::BLOCK] + DARK).std()
    assert bool(spread <= EVEN) == found
    assert (evened(ground(0.1, 0.6), after) > 0.9) == found


@pytest.mark.parametrize("shade", [0.2, 0.3, 0.4])
@pytest.mark.parametrize("darkest", [1.0, 0.5, 0.05, 0.0])
def test_a_shadow_is_brightened_alike_all_over(shade, darkest):
    # An eighth of what becomes brighter was darker than the rest of it, as a dark thing on the ground is.
    levels = np.array([darkest * shade] + [shade] * 7)
    before, after = ground(*levels, *[0.6] * 8, columns=8), ground(*[0.6] * 16, columns=8)
    brighter = np.log((0.6 + DARK) / (levels + DARK))
    alike = bool(brighter.std() <= ALIKE * brighter.mean())
    assert alike == (darkest == 1 or (darkest == 0.5 and shade < 0.4))
    assert evened(before, after) == alike


def test_what_is_darkened_was_no_shadow():
    assert evened(ground(0.3, 0.6), ground(0.3, 0.3)) == 0


def test_texture_counts_for_nothing():
    board = torch.tensor([[0.0, 0.2], [0.2, 0.0]]).repeat(32, 32).expand(1, 3, -1, -1)
    assert evened(ground(0.3, 0.6) + board, ground(0.6, 0.6) + board) == 1


@pytest.mark.parametrize(("rows", "enough"), [(64, True), (63, False), (7, False)])
def test_a_picture_of_few_blocks_is_not_tried(rows, enough):
    picture = ground(0.3, 0.6, columns=8)[:, :, :rows]
    assert tells(picture) == enough
    _, line, widths = restored(picture, Clean({"shadowed": 0.6}))
    assert (line, len(widths)) == (("shadowed (1.00), step 9", 2) if enough else ("left as it is: clean (0.97)", 0))


@pytest.mark.parametrize(
    ("size", "copied"), [((384, 768), (128, 256)), ((100, 256), (100, 256)), ((760, 9), (256, 5)), ((16, 17), (16, 17))]
)
def test_a_copy_is_of_all_that_an_estimator_sees(size, copied):
    picture = torch.linspace(0, 1, size[0])[:, None].expand(1, 3, *size)
    copy = small_copy(picture)
    assert copy.shape[-2:] == copied
    assert max(copied) <= COPIED
    torch.testing.assert_close(copy.mean(), picture.mean(), atol=1e-3, rtol=0)


def test_a_large_picture_is_tried_by_its_middle():
    picture = torch.zeros(1, 3, 900, 1000)
    picture[..., 66:834, 116:884] = 0.5
    copy = small_copy(picture)
    assert copy.shape[-2:] == (256, 256)
    torch.testing.assert_close(copy, torch.full_like(copy, 0.5))


class Clean(nn.Module):
    """Finds nothing, and has shadows tried out."""

    classes = ("shadowed", "noisy", "clean")
    least_confidence = 0.5

    def __init__(self, trials, chances=(0.02, 0.01, 0.97)):
        super().__init__()
        self.trials, self.chances, self.asked = trials, chances, 0

    def forward(self, lq):
        self.asked += 1
        return torch.tensor([self.chances]).log()


class Unshading(nn.Module):
    """Doubles the brightness of what is darker than .4, step 9; adds a tenth, step 3."""

    tasks, num_timesteps, flips_up_to = ("shadowed", "noisy"), 10, 0

    def __init__(self, estimator):
        super().__init__()
        self.register_buffer("matched_t", torch.tensor([9, 3]))
        self.estimator, self.widths = estimator, []

    def restore(self, lq, t):
        self.widths.append(lq.shape[-1])
        return torch.where(lq < 0.4, 2 * lq, lq) if int(t[0]) == 9 else lq + 0.1


SHADED, EVEN_GROUND = ground(0.3, 0.6, columns=200), ground(0.5, 0.6, columns=200)


def restored(picture, estimator, **options):
    restorer = Unshading(estimator)
    inferencer = RestorationInferencer(restorer, device="cpu")
    output, outcome = inferencer(picture[0].permute(1, 2, 0).numpy(), with_details=True, **options)
    return output, str(outcome), restorer.widths


def test_a_shadow_is_found_where_the_estimator_knows_of_none():
    output, line, widths = restored(SHADED, Clean({"shadowed": 0.6}))
    assert line == "shadowed (1.00), step 9"
    np.testing.assert_allclose(output, 0.6, atol=1e-6)
    # The copy, and then the picture, which is not tried again.
    assert widths == [COPIED, 400]


@pytest.mark.parametrize(
    ("picture", "trials", "options", "tried"),
    [
        (EVEN_GROUND, {"shadowed": 0.6}, {}, 1),
        (SHADED, {}, {}, 0),
        (SHADED, {"rainy": 0.6}, {}, 0),
        (SHADED, {"shadowed": 0.6}, {"strength": 0.0}, 0),
    ],
)
def test_a_picture_is_left_where_a_trial_finds_nothing_or_there_is_none(picture, trials, options, tried):
    output, line, widths = restored(picture, Clean(trials), **options)
    assert line.startswith("left as it is: ")
    np.testing.assert_array_equal(output, picture[0].permute(1, 2, 0).numpy())
    assert widths == [COPIED] * tried


def test_a_prompt_that_keeps_the_shadows_has_none_tried():
    _, line, widths = restored(SHADED, Clean({"shadowed": 0.6}), prompt="restore it, but keep the shadows")
    assert line.startswith("left as it is: ")
    assert widths == []


def test_what_the_estimator_finds_goes_first():
    estimator = Clean({"shadowed": 0.6}, (0.0, 0.9, 0.1))
    _, line, widths = restored(SHADED, estimator)
    # Shown again, it names what was done already; brighter than .4 there is no shadow for this network any more.
    assert line == "noisy (0.90), step 3"
    assert widths == [400, COPIED]
    _, line, widths = restored(SHADED, Clean({"shadowed": 0.6}, (0.0, 0.9, 0.1)), passes=1)
    assert (line, widths) == ("noisy (0.90), step 3", [400])


def test_a_trial_is_made_where_the_estimator_is_unsure():
    _, line, _ = restored(SHADED, Clean({"shadowed": 0.6}, (0.1, 0.45, 0.45)))
    assert line == "shadowed (1.00), step 9"


def test_a_network_that_gives_no_numbers_is_an_error():
    restorer = Unshading(Clean({"shadowed": 0.6}))
    restorer.restore = lambda lq, t: lq * torch.nan
    with pytest.raises(ImageFileError, match="infinite or undefined"):
        RestorationInferencer(restorer, device="cpu")(SHADED[0].permute(1, 2, 0).numpy())


def test_the_packaged_model_finds_a_shadow_on_a_ground_and_leaves_the_ground():
    assert read_facts(find_model()).estimator["trials"] == {"shadowed": 0.6}
    shadow, bare = (
        DrawnDataset("shadowed", 8, *damage, side=200, draw="DrawGround", seed=4)[6]["inputs"]
        for damage in (("CastShadow", 0.5), ())
    )
    inferencer = RestorationInferencer(device="cpu")
    found = [inferencer(x.permute(1, 2, 0).numpy(), with_details=True)[1] for x in (shadow, bare)]
    assert [done.task for done in found[0].passes] == ["shadowed"]
    assert not found[1].changed
    inferencer.judge.estimator.trials = {}
    assert not inferencer(shadow.permute(1, 2, 0).numpy(), with_details=True)[1].changed


def test_a_named_task_is_not_tried():
    _, line, widths = restored(SHADED, Clean({"shadowed": 0.6}), task="noisy")
    assert (line, widths) == ("noisy, step 3", [400])


def test_files_are_tried_too(tmp_path):
    pixels = (SHADED[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    inferencer = RestorationInferencer(Unshading(Clean({"shadowed": 0.6})), device="cpu")
    report = inferencer.restore_paths([tmp_path / "a.png"], tmp_path / "out")
    assert not report.failed
    spreads = [np.ptp(each) for each in (np.asarray(Image.open(tmp_path / "out/a.png")), pixels)]
    assert spreads == [1, 77]
