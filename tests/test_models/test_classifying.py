"""A pre-training that tells the damage by deep features."""

import math

import pytest
import torch
from mmengine.registry import DefaultScope
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.models import ClassifyingRestorer, SupervisedRestorer
from dtir.models.restorers.classifying import focal_loss
from dtir.registry import SCOPE

BACKBONE = {"type": "DTIRUNet", "width": 4, "enc_blk_nums": [1, 1], "middle_blk_num": 2, "dec_blk_nums": [1, 1]}
TASKS = ["noisy", "rainy", "hazy"]


def made(kind=ClassifyingRestorer, **options) -> SupervisedRestorer:
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(SCOPE):
        model = kind(BACKBONE, TASKS, **options)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return model


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    lq, gt = (torch.rand(6, 3, 32, 24, generator=generator) for _ in range(2))
    return lq, {"gt": gt, "task": torch.tensor([0, 1, 2, 0, 1, 2]), "num_generative": 0}


def test_a_focal_loss_of_no_exponent_is_the_cross_entropy():
    logits, target = torch.randn(5, 3, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 1, 2, 0, 1])
    torch.testing.assert_close(focal_loss(logits, target, 0.0), F.cross_entropy(logits, target))


def test_a_focal_loss_counts_little_what_is_known():
    # Odds of 9 to 1: a probability of .9.
    known = focal_loss(torch.tensor([[math.log(9.0), 0.0]]), torch.tensor([0]), 2.0)
    assert float(known) == pytest.approx(-(0.1**2) * math.log(0.9), rel=1e-4)


def test_the_features_are_those_of_the_last_of_the_smallest_blocks():
    model = made()
    sizes = {}
    for name in model.backbone.ordered_blocks():
        block = model.backbone.get_submodule(name)
        block.register_forward_hook(lambda module, args, out, name=name: sizes.__setitem__(name, out.shape))
    model.restore(torch.rand(1, 3, 32, 32), torch.zeros(1))
    least = min(size.numel() // size[1] for size in sizes.values())
    assert model.deepest == [name for name, size in sizes.items() if size.numel() // size[1] == least][-1]
    assert model.head.in_features == 3 * sizes[model.deepest][1]


def test_it_restores_and_is_trained_as_without_telling(batch):
    model, plain = made(), made(SupervisedRestorer)
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if not key.startswith("head.")})
    losses = model.losses(*batch)
    assert torch.equal(losses["loss_restoration"], plain.losses(*batch)["loss_restoration"])
    assert torch.equal(model.restore(batch[0], None), plain.restore(batch[0], None))
    assert not model.backbone.get_submodule(model.deepest)._forward_hooks


def test_telling_teaches_the_encoder_and_not_what_comes_after(batch):
    model = made()
    model.losses(*batch)["loss_damage"].backward()
    taught = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(name.startswith("head.") for name in taught)
    assert any("encoder" in name for name in taught)
    assert not any("decoder" in name for name in taught)


def test_the_damage_is_learned(batch):
    model = made(class_weight=1.0)
    lq, samples = batch
    # Told apart by their brightness.
    lq = (lq + samples["task"].view(-1, 1, 1, 1)) / 3
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    values = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = model.losses(lq, samples)["loss_damage"]
        loss.backward()
        optimizer.step()
        values.append(loss.item())
    assert values[-1] < 0.2 * values[0]


def test_the_weight_multiplies(batch):
    one, three = (made(class_weight=weight).losses(*batch)["loss_damage"] for weight in (1.0, 3.0))
    torch.testing.assert_close(three, 3 * one)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"class_weight": -1.0}, "class_weight"), ({"gamma": -2.0}, "gamma")],
)
def test_numbers_below_0_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        made(**options)


def test_of_one_damage_there_is_nothing_to_tell():
    with DefaultScope.overwrite_default_scope(SCOPE), pytest.raises(ConfigError, match="nothing to tell"):
        ClassifyingRestorer(BACKBONE, ["noisy"])
