import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dtir.apis import RestorationInferencer
from dtir.apis.restoring.outcome import Estimate, Outcome, Pass
from dtir.apis.restoring.passes import widened
from dtir.core.errors import ConfigError, ImageFileError, TaskError

GREY = np.full((4, 6, 3), 0.2, np.float32)
# Of one colour all over it would be left as it is.
GREY[0, :2] = [[0.1], [0.3]]


def restored(restorer, **options):
    output, outcome = RestorationInferencer(restorer, device="cpu")(GREY, with_details=True, **options)
    return output, outcome


@pytest.mark.parametrize(
    ("answers", "added", "line"),
    [
        ([("noisy", 0.93), ("clean", 0.8)], 0.06, "noisy (0.93), step 6"),
        ([("noisy", 0.9), ("rainy", 0.75), ("clean", 0.8)], 0.07, "noisy (0.90), step 6; rainy (0.75), step 1"),
        ([("noisy", 0.9), ("rainy", 0.4)], 0.06, "noisy (0.90), step 6"),
        ([("noisy", 0.9), ("noisy", 0.9)], 0.06, "noisy (0.90), step 6"),
        ([("clean", 0.97)], 0, "left as it is: clean (0.97)"),
        ([("rainy", 0.34)], 0, "left as it is: unsure, rainy (0.34) at most"),
    ],
)
def test_the_damage_is_estimated_again_until_there_is_no_ground_to_go_on(brightening, answers, added, line):
    restorer = brightening(*answers)
    output, outcome = restored(restorer)
    np.testing.assert_allclose(output, GREY + added, atol=1e-6)
    assert str(outcome) == line
    assert restorer.estimator.answers == []
    assert restorer.estimator.seen[-1] == pytest.approx(0.2 + added)


@pytest.mark.parametrize(
    ("chances", "restored_of"),
    [
        ((0.48, 0.46, 0.06), "noisy"),
        ((0.46, 0.48, 0.06), "rainy"),
        ((0.48, 0.36, 0.16), None),
        ((0.3, 0.25, 0.45), None),
    ],
)
def test_two_damages_that_share_the_belief_are_ground_together(brightening, chances, restored_of):
    restorer = brightening(("clean", 1.0))
    restorer.estimator.least_confidence, restorer.estimator.least_of_two = 0.7, 0.9
    estimate, asked = restorer.estimator.forward, []

    def forward(lq):
        asked.append(lq)
        return torch.tensor([chances]).log() if len(asked) == 1 else estimate(lq)

    restorer.estimator.forward = forward
    _, outcome = restored(restorer)
    assert [done.task for done in outcome.passes] == ([restored_of] if restored_of else [])


class DarkAndNoisy(nn.Module):
    """Gives these probabilities of its classes, and then says "clean"."""

    classes = ("noisy", "low-light", "clean")
    least_confidence = 0.5

    def __init__(self, chances):
        super().__init__()
        self.chances = [chances, (0.05, 0.05, 0.9)]

    def forward(self, lq):
        return torch.tensor([self.chances.pop(0)]).log()


@pytest.mark.parametrize(
    ("chances", "passes", "line"),
    [
        ((0.11, 0.84, 0.05), 3, "noisy (0.11), step 6; low-light (0.84), step 1"),
        ((0.84, 0.15, 0.01), 3, "noisy (0.84), step 6"),
        ((0.09, 0.85, 0.06), 3, "low-light (0.85), step 1"),
        ((0.3, 0.4, 0.3), 3, "left as it is: unsure, low-light (0.40) at most"),
        ((0.15, 0.85, 0.0), 1, "low-light (0.85), step 1"),
    ],
)
def test_noise_is_removed_before_a_dark_picture_is_lit(brightening, chances, passes, line):
    restorer = brightening()
    restorer.tasks, restorer.estimator = ("noisy", "low-light", "inpainting", "clean"), DarkAndNoisy(chances)
    _, outcome = restored(restorer, passes=passes)
    assert str(outcome) == line


@pytest.mark.parametrize(
    ("chances", "step_of", "line"),
    [
        ((0.11, 0.84, 0.05), {"noisy": 2, "low-light": 0}, "left as it is: nothing to do"),
        ((0.84, 0.11, 0.05), {"noisy": 0, "low-light": 2}, "left as it is: nothing to do"),
        ((0.11, 0.84, 0.05), {"noisy": 0, "low-light": 2}, "low-light (0.84), step 2"),
    ],
)
def test_what_goes_with_a_damage_whose_step_is_none_is_left_too(brightening, chances, step_of, line):
    restorer = brightening()
    restorer.tasks, restorer.estimator = ("noisy", "low-light", "inpainting", "clean"), DarkAndNoisy(chances)
    restorer.estimator.steps = dict.fromkeys(step_of, (1, 2))
    restorer.estimator.step_of = lambda picture, task: step_of[task]
    _, outcome = restored(restorer, t="auto")
    assert str(outcome) == line


def test_what_is_to_be_spared_is_not_restored_along(brightening):
    restorer = brightening()
    restorer.tasks, restorer.estimator = ("noisy", "rainy", "inpainting", "clean"), DarkAndNoisy((0.85, 0.15, 0.0))
    _, outcome = restored(restorer)
    assert str(outcome) == "noisy (0.85), step 6"


def test_no_more_passes_than_allowed(brightening):
    restorer = brightening(("noisy", 0.9), ("rainy", 0.9))
    output, outcome = restored(restorer, passes=1)
    assert outcome.passes == (Pass("noisy", pytest.approx(0.9), 6),)
    assert outcome.stopped_at is None
    np.testing.assert_allclose(output, GREY + 0.06, atol=1e-6)


def test_details_of_a_picture(brightening):
    _, outcome = restored(brightening(("noisy", 0.9), ("clean", 0.7)))
    assert (outcome.task, outcome.confidence, outcome.step) == ("noisy", pytest.approx(0.9), 6)
    assert outcome.stopped_at == Estimate("clean", pytest.approx(0.7), pytest.approx(0.3))
    assert outcome.changed
    assert 0 < outcome.seconds < 10
    _, left = restored(brightening(("clean", 0.8)))
    assert (left.task, left.step, left.changed) == ("clean", None, False)
    assert Outcome().task is None


@pytest.mark.parametrize(("strength", "added"), [(0, 0), (0.5, 0.03), (1, 0.06)])
def test_strength_is_the_share_of_the_change(brightening, strength, added):
    output, outcome = restored(brightening(), task="noisy", strength=strength)
    np.testing.assert_allclose(output, GREY + added, atol=1e-6)
    assert ("strength 0.5" in str(outcome)) == (strength == 0.5)


def mask_of(*pixels):
    mask = np.zeros(GREY.shape[:2], np.uint8)
    for pixel in pixels:
        mask[pixel] = 255
    return mask


def test_only_masked_pixels_are_filled_without_a_task(brightening):
    output, outcome = restored(brightening(("noisy", 0.9)), mask=mask_of((1, 2), (3, 5)))
    expected = GREY.copy()
    expected[[1, 3], [2, 5]] = 0.25
    np.testing.assert_array_equal(output, expected)
    assert str(outcome) == "inpainting, step 46"


@pytest.mark.parametrize("choice", [{"task": "noisy"}, {"task": "auto"}, {"t": 6}])
def test_the_filled_picture_is_then_restored_where_asked(brightening, choice):
    output, _ = restored(brightening(("noisy", 0.9), ("clean", 1.0)), mask=mask_of((1, 2)), strength=0.5, **choice)
    expected = GREY + 0.03
    expected[1, 2] = 0.28
    np.testing.assert_allclose(output, expected, atol=1e-6)


def test_an_empty_mask_leaves_the_picture(brightening):
    output, outcome = restored(brightening(), mask=mask_of())
    np.testing.assert_array_equal(output, GREY)
    assert str(outcome) == "left as it is: nothing to do"


def test_a_mask_of_another_size_is_explained(brightening):
    with pytest.raises(ImageFileError, match="mask is of 3 x 2 pixels and the picture of 6 x 4"):
        restored(brightening(), mask=np.ones((2, 3), bool))


def test_filling_needs_a_model_that_knows_it(inverting_restorer):
    with pytest.raises(TaskError, match="unknown task 'inpainting'"):
        restored(inverting_restorer, mask=mask_of((0, 0)))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"strength": 1.5}, "strength=1.5"), ({"strength": float("nan")}, "strength=nan"), ({"passes": 0}, "passes=0")],
)
def test_numbers_out_of_range_are_refused(brightening, options, message):
    with pytest.raises(ConfigError, match=message):
        restored(brightening(), task="noisy", **options)


def test_a_class_that_the_restorer_does_not_know_is_no_ground(brightening):
    restorer = brightening(("snowy", 0.9))
    restorer.estimator.classes = ("snowy", "clean")
    output, outcome = restored(restorer)
    np.testing.assert_array_equal(output, GREY)
    assert "snowy" in str(outcome)


def test_a_clean_file_is_copied_bit_for_bit(brightening, tmp_path):
    source = tmp_path / "a.jpg"
    Image.fromarray((GREY * 255).astype(np.uint8)).save(source, quality=31, comment=b"mine")
    inferencer = RestorationInferencer(brightening(("clean", 0.9), ("noisy", 0.2), ("clean", 0.9)), device="cpu")
    for name in ("clean.jpg", "unsure.jpg"):
        inferencer.restore_file(source, tmp_path / name)
        assert (tmp_path / name).read_bytes() == source.read_bytes()
    inferencer.restore_file(source, tmp_path / "other.png")
    with Image.open(source) as before, Image.open(tmp_path / "other.png") as after:
        assert np.abs(np.asarray(before).astype(int) - np.asarray(after)).max() <= 1


@pytest.mark.parametrize("value", [0, 40, 255])
def test_a_file_of_one_colour_is_copied_and_no_estimator_asked(brightening, tmp_path, value):
    source = tmp_path / "a.png"
    Image.new("RGB", (9, 5), (value, value, 40)).save(source)
    inferencer = RestorationInferencer(brightening(("noisy", 0.9)), device="cpu")
    done = []
    inferencer.restore_paths(source, tmp_path / "out", on_done=lambda job, outcome: done.append(str(outcome)))
    assert done == ["left as it is: blank, of one colour all over"]
    assert (tmp_path / "out/a.png").read_bytes() == source.read_bytes()
    assert inferencer.judge.estimator.answers == [("noisy", 0.9)]


def test_a_picture_of_one_colour_needs_an_estimator_as_others_do(brightening):
    with pytest.raises(ConfigError, match="BlindTaskHook"):
        RestorationInferencer(brightening(), device="cpu").restore_array(np.zeros((4, 6, 3), np.float32))


def test_a_picture_of_one_colour_is_restored_of_a_damage_that_is_named(brightening):
    black = np.zeros((4, 6, 3), np.float32)
    output, outcome = RestorationInferencer(brightening(), device="cpu")(black, task="noisy", with_details=True)
    np.testing.assert_allclose(output, 0.06, atol=1e-6)
    assert str(outcome) == "noisy, step 6"


@pytest.mark.parametrize("place", [(0, 0, 0), (3, 5, 2)])
def test_one_sample_that_differs_is_something_to_judge(brightening, place):
    black = np.zeros((4, 6, 3), np.float32)
    black[place] = 1 / 65535
    output = RestorationInferencer(brightening(("noisy", 0.9), ("clean", 0.9)), device="cpu").restore_array(black)
    np.testing.assert_allclose(output, black + 0.06, atol=1e-6)


def test_the_estimate_of_a_batch_is_of_each_picture(brightening):
    restorer = brightening(("noisy", 0.9), ("clean", 0.9), ("clean", 0.9))
    batch = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0)) / 2
    output, details = RestorationInferencer(restorer, device="cpu")(batch, with_details=True)
    torch.testing.assert_close(output[0], batch[0] + 0.06)
    assert torch.equal(output[1], batch[1])
    assert [outcome.task for outcome in details] == ["noisy", "clean"]


def test_thin_regions_are_widened_and_wide_ones_stay():
    thin, wide = torch.zeros(2, 40, 40, dtype=torch.bool)
    thin[20, 5:35] = True
    wide[8:30, 10:32] = True
    wider = widened(thin)
    assert wider[17:24, 2:38].all()
    assert wider.sum() == 7 * 36
    assert torch.equal(widened(wide), wide)
    both = thin | wide
    assert torch.equal(widened(both)[:, 32 + 3 :], wider[:, 32 + 3 :])
    assert not widened(torch.zeros(9, 9, dtype=torch.bool)).any()
