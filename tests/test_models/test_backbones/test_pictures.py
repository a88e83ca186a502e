import pytest
import torch
from torch import nn

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.layers import pad_to_multiple
from dtir.models.backbones.parts.pictures import restored_picture
from dtir.models.backbones.traits import CENTRED_RANGE, IMAGENET_RANGE, Traits, traits_of


class Identity(nn.Module):
    """Gives back what it gets, with a second output."""

    traits = Traits(input_range=IMAGENET_RANGE, output_range=IMAGENET_RANGE)

    def forward(self, x):
        self.seen = x
        return [x, x[:, :1]]


def test_ranges_are_undone_and_the_first_output_is_the_picture():
    network, x = Identity(), torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(restored_picture(network, x), x)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(network.seen, (x - mean.view(3, 1, 1)) / std.view(3, 1, 1))


def test_a_network_that_declares_nothing_has_the_defaults():
    assert traits_of(nn.Conv2d(3, 3, 1)) == Traits()


def test_the_former_attributes_are_read_with_a_warning():
    class Former(Identity):
        traits = None
        input_range = CENTRED_RANGE
        picture_outputs = 1

    with pytest.warns(DeprecationWarning, match=r"Former.*traits = Traits\(input_range=..., pictures=...\)"):
        assert traits_of(Former()) == Traits(input_range=CENTRED_RANGE, pictures=1)


def test_traits_out_of_range_are_named():
    with pytest.raises(ConfigError, match="size_multiple=0"):
        Traits(size_multiple=0)
    with pytest.raises(ConfigError, match=r"tiles='no'.*exact, nearly, global"):
        Traits(tiles="no")
    network = nn.Conv2d(3, 3, 1)
    network.traits = {"scale": 2}
    with pytest.raises(ConfigError, match=r"Conv2d\.traits is a dict"):
        traits_of(network)


@torch.no_grad()
def test_a_network_that_does_not_pad_gets_padded_pictures():
    class Halves(nn.Module):
        traits = Traits(size_multiple=8, pads=False, scale=2)

        def forward(self, x):
            assert x.shape[-2] % 8 == x.shape[-1] % 8 == 0
            return x.repeat_interleave(2, -1).repeat_interleave(2, -2)

    x = torch.rand(2, 3, 5, 11)
    assert torch.equal(restored_picture(Halves(), x), x.repeat_interleave(2, -1).repeat_interleave(2, -2))


def test_centred_range():
    x = torch.tensor([0.0, 0.25, 1.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(CENTRED_RANGE.encode(x).flatten(), torch.tensor([-1.0, -0.5, 1.0]))
    torch.testing.assert_close(CENTRED_RANGE.decode(CENTRED_RANGE.encode(x)), x)


@pytest.mark.parametrize("side", [1, 2, 3, 5, 8, 9])
def test_padding_mirrors_to_and_fro(side):
    x = torch.arange(side, dtype=torch.float32).expand(1, 1, side, side)
    padded = pad_to_multiple(x, 8)
    assert padded.shape[-2:] == (side + -side % 8,) * 2
    wave = [*range(side), *range(side - 2, 0, -1)] or [0]
    expected = torch.tensor([wave[i % len(wave)] for i in range(padded.shape[-1])], dtype=torch.float32)
    assert torch.equal(padded, expected.expand_as(padded))
    assert torch.equal(padded.mT, pad_to_multiple(x.mT, 8))
