import pytest
import torch
from torch.nn import functional as F

from dtir.evaluation.metrics.functional import ssim
from dtir.models.losses import SSIMLoss

PRED, TARGET = torch.rand(2, 2, 3, 32, 24, generator=torch.Generator().manual_seed(0))


def test_equal_pictures_are_the_best():
    torch.testing.assert_close(SSIMLoss()(PRED, PRED), -torch.ones(2))
    assert (SSIMLoss()(PRED, TARGET) > -0.5).all()


def test_it_is_the_metric_of_pictures_with_a_black_border():
    pad = (5, 5, 5, 5)
    black = [F.pad(x, pad) for x in (PRED, TARGET)]
    # With a border of zeros on the picture, the metric's windows are those of the loss.
    torch.testing.assert_close(-SSIMLoss()(PRED, TARGET).double(), ssim(*black), rtol=1e-4, atol=1e-5)


def test_gradient():
    loss = SSIMLoss(window_size=3)
    pred = PRED[:1, :1, :4, :4].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(pred, TARGET[:1, :1, :4, :4]).sum(), pred)
    step = torch.zeros_like(pred)
    step[0, 0, 1, 2] = 1e-2
    with torch.no_grad():
        ahead, behind = (loss(pred + s, TARGET[:1, :1, :4, :4]) for s in (step, -step))
    assert gradient[0, 0, 1, 2].item() == pytest.approx(((ahead - behind) / 2e-2).item(), rel=2e-2)


def test_half_precision_is_computed_in_single():
    with torch.autocast("cpu", torch.bfloat16):
        found = SSIMLoss()(PRED, TARGET)
    assert torch.equal(found, SSIMLoss()(PRED, TARGET))
