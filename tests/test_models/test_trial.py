"""A backbone of one's own is tried once when a model is built, on a picture of odd size."""

import pytest
import torch
from torch import nn

from dtir.core.errors import ConfigError
from dtir.models import ConditionedNetwork
from dtir.models.backbones.traits import Traits
from dtir.models.probing import try_backbone


class Own(nn.Module):
    """Right in all; the wrong ones below differ in one thing each."""

    def __init__(self):
        super().__init__()
        self.body = nn.ModuleList([nn.Conv2d(3, 3, 3, padding=1)])
        self.norm = nn.BatchNorm2d(3)

    def ordered_blocks(self):
        return ["body.0"]

    def forward(self, x):
        return x - self.norm(self.body[0](x))


class WrongChannels(Own):
    def forward(self, x):
        return super().forward(x)[:, :1]


class AnotherSize(Own):
    def forward(self, x):
        return super().forward(x)[..., : x.shape[-1] // 2 * 2]


class Multiples(Own):
    def forward(self, x):
        return nn.functional.pixel_shuffle(nn.functional.pixel_unshuffle(super().forward(x), 8), 8)


class GivesDict(Own):
    def forward(self, x):
        return {"out": super().forward(x)}


class NoGradient(Own):
    def forward(self, x):
        return super().forward(x).detach()


class NoBlocks(Own):
    def ordered_blocks(self):
        self.body[0]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (WrongChannels, r"makes a tensor \(1, 1, 17, 13\) .*expected \(1, 3, 17, 13\)"),
        (AnotherSize, r"makes a tensor \(1, 3, 17, 12\)"),
        (Multiples, r"fails on a picture of 17 x 13 pixels.*pads=False"),
        (GivesDict, "output is a dict; expected a picture"),
        (NoGradient, "no gradient of any of its parameters"),
        (NoBlocks, r"ordered_blocks\(\) gave None; expected a list"),
    ],
)
def test_what_is_wrong_is_said(kind, message):
    with pytest.raises(ConfigError, match=rf"backbone {kind.__name__}.*{message}"):
        ConditionedNetwork(kind(), embed_dim=8)


def test_the_trial_leaves_no_trace():
    network = Own().train()
    network.body[0].eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    ConditionedNetwork(network, embed_dim=8)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert (network.training, network.body[0].training) == (True, False)
    assert all(p.grad is None for p in network.parameters())


def test_a_network_that_wants_multiples_may_say_so():
    network = Multiples()
    network.traits = Traits(pads=False, size_multiple=8)
    try_backbone(network)
    with torch.device("meta"):
        try_backbone(Own())


def test_a_frozen_network_needs_no_gradient():
    try_backbone(NoGradient().requires_grad_(False))
