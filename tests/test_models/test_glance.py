"""What a glance sees of a picture as a whole, and how it and an estimator come to one answer."""

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from dtir.apis import RestorationInferencer
from dtir.core.errors import ConfigError
from dtir.models import GlanceClassifier
from dtir.models.estimator import TaskEstimator
from dtir.models.glance import GLANCED, Glance, glimpse

CLASSES = ("clean", "noisy", "shadowed")


@pytest.mark.parametrize("size", [(24, 36), (25, 17), (97, 10)])
def test_each_pixel_of_the_small_copy_is_the_mean_of_its_area(size):
    picture = torch.rand(1, 1, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    # Each pixel as 96 x 96 equal ones, of which all areas are whole numbers.
    fine = picture.repeat_interleave(GLANCED, 2).repeat_interleave(GLANCED, 3)
    torch.testing.assert_close(glimpse(picture), F.avg_pool2d(fine, size))


def test_the_small_copy_is_what_thumbnails_of_the_training_are():
    picture = np.random.default_rng(0).random((200, 310, 3), np.float32)
    small = cv2.resize(picture, (GLANCED, GLANCED), interpolation=cv2.INTER_AREA)
    found = glimpse(torch.from_numpy(picture).permute(2, 0, 1)[None])[0].permute(1, 2, 0)
    assert np.abs(found.numpy() - small).max() < 2e-3


def with_answers(glance, logits):
    """Has a glance give these logits for all pictures."""
    with torch.no_grad():
        glance.head.weight.zero_()
        glance.head.bias.copy_(torch.tensor(logits))
    return glance


def test_an_unsure_estimator_believes_the_glance_and_else_itself():
    glance = with_answers(Glance(("shadowed",), 4), [0.0, 0.7])
    logits, lq = torch.tensor([[0.1, 0.2, -1.0], [0.0, 3.0, 0.0]]), torch.rand(2, 3, 20, 30)
    revised = glance.revise(logits, lq, CLASSES, torch.tensor([False, True])).exp()
    own, seen = logits.softmax(1), torch.tensor(0.7).sigmoid()
    torch.testing.assert_close(revised[1], own[1])
    expected = (1 - seen) * own[0] + seen * torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(revised[0], expected)


@pytest.mark.parametrize(
    ("chances", "least_of_two", "sure"),
    [
        ((0.1, 0.8, 0.1), None, True),
        ((0.8, 0.1, 0.1), None, False),
        ((0.1, 0.5, 0.4), None, False),
        ((0.1, 0.5, 0.4), 0.85, True),
        ((0.3, 0.4, 0.3), 0.85, False),
    ],
)
def test_an_estimator_is_sure_of_what_it_would_have_restored(chances, least_of_two, sure):
    options = {"least_confidence": 0.75, "least_of_two": least_of_two, "glance": {"told": ["shadowed"], "width": 4}}
    estimator = TaskEstimator(3, 4, CLASSES, **options)
    with_answers(estimator, [float(np.log(chance)) for chance in chances])
    with_answers(estimator.glance, [0.0, 5.0])
    found = estimator(torch.rand(1, 3, 33, 40)).softmax(1)[0]
    assert torch.allclose(found, torch.tensor(chances)) == sure
    assert (found[2] > 0.99) == (not sure)


def test_an_estimator_is_rebuilt_from_its_settings():
    first = TaskEstimator(3, 4, CLASSES, glance={"told": ["shadowed"], "width": 4})
    again = TaskEstimator(3, **first.settings())
    again.load_state_dict(first.state_dict())
    lq = torch.rand(2, 3, 50, 40)
    assert torch.equal(again(lq), first(lq))
    assert "glance" not in TaskEstimator(3, 4, CLASSES).settings()


@pytest.mark.parametrize("classes", [(), ("clean", "noisy")])
def test_a_glance_tells_no_more_than_the_estimator_knows(classes):
    with pytest.raises(ConfigError, match="the glance tells shadowed, which is not among"):
        TaskEstimator(3, 4, classes, glance={"told": ["shadowed"], "width": 4})


def test_the_small_copy_of_a_picture_in_16_bits():
    picture = torch.rand(1, 3, 300, 700).bfloat16()
    torch.testing.assert_close(glimpse(picture), glimpse(picture.float()))


def test_a_classifier_trains_the_glance():
    model, gt = GlanceClassifier(("clean", "shadowed"), width=4, label_smoothing=0.0), torch.rand(2, 3, 32, 48)
    lq = torch.stack([gt[0], gt[1] / 2])
    loss = model.losses(lq, {"gt": gt, "task": torch.tensor([1, 1]), "num_generative": 0})["loss_task"]
    # The first was not touched, so it is clean whatever its set is called.
    log_p = model.estimator(lq).log_softmax(1)
    torch.testing.assert_close(loss, -(log_p[0, 0] + log_p[1, 1]) / 2)
    loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.estimator.parameters())


@pytest.mark.parametrize("tasks", [("noisy", "hazy"), ("shadowed", "clean")])
def test_a_classifier_needs_clean_first(tasks):
    with pytest.raises(ConfigError, match="expected 'clean' first"):
        GlanceClassifier(tasks)


def test_a_picture_can_be_judged_by_a_glance_alone():
    model = GlanceClassifier(("clean", "hazy"), width=4).eval()
    inferencer = RestorationInferencer(model, device="cpu")
    found = inferencer.judge.chances(torch.rand(1, 3, 30, 20))
    assert list(found) == ["clean", "hazy"]
    assert sum(found.values()) == pytest.approx(1)
