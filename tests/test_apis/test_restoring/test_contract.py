"""What is read off a restorer and its estimator."""

import torch
from torch import nn

from dtir.apis.restoring.contract import judgement_of, offer_of, restorer_traits
from dtir.imaging.tiling import tiled_apply
from dtir.models.backbones.traits import Traits

CPU = torch.device("cpu")


class Bare(nn.Module):
    """A restorer with what it must have."""

    tasks, num_timesteps = ("noisy", "rainy"), 50
    matched_t = torch.tensor([3, -1])

    def restore(self, lq, t):
        return lq


class Full(Bare):
    """A restorer with all that it may have."""

    traits = Traits(size_multiple=4)
    estimator = nn.Identity()
    precisions = ("float32",)
    tiles_alone = True

    def apply_in_tiles(self, fn, image, **options):
        return fn(image)

    def at_precision(self, precision):
        return torch.autocast("cpu", enabled=False)

    def instruct(self, prompt):
        return prompt


def test_what_is_not_said_is_the_default():
    offer = offer_of(Bare(), CPU)

    assert offer.traits == Traits()
    assert (offer.estimator, offer.instruct, offer.precisions) == (None, None, None)
    assert offer.apply_in_tiles is tiled_apply
    assert offer.tiles_alone
    assert not offer.is_exported
    with offer.at_precision("bf16"):
        assert torch.is_autocast_enabled("cpu")


def test_what_is_said_counts():
    full = Full()
    offer = offer_of(full, CPU)

    assert offer.traits == Full.traits
    assert offer.estimator is Full.estimator
    assert offer.is_exported
    assert offer.apply_in_tiles == full.apply_in_tiles
    assert offer.instruct("brighten") == "brighten"


def test_tiles_of_its_own_may_need_the_whole_picture():
    class Own(Bare):
        def apply_in_tiles(self, fn, image, **options):
            return fn(image)

    assert not offer_of(Own(), CPU).tiles_alone


def test_traits_are_those_of_the_backbone_where_it_has_none():
    bare, network = Bare(), nn.Identity()
    network.traits = Traits(size_multiple=2)
    bare.backbone = network

    assert restorer_traits(bare) is network.traits


def test_an_estimator_says_how_it_is_taken():
    assert judgement_of(None, Bare.tasks) == (Bare.tasks, 0.0, None, None, None, {}, {})
    estimator = nn.Identity()
    estimator.classes, estimator.least_confidence, estimator.step = ["rainy", "clean"], 0.7, 9
    estimator.least_of_two, estimator.steps, estimator.trials = 0.9, {"rainy": (0, 4)}, {"rainy": 0.6}

    assert judgement_of(estimator, Bare.tasks) == (
        ("rainy", "clean"),
        0.7,
        0.9,
        None,
        9,
        {"rainy": (0, 4)},
        {"rainy": 0.6},
    )
