import pytest
import torch
from torch import nn

from dtir.models.backbones.parts.layers import pad_to_multiple
from dtir.models.backbones.parts.pictures import CENTRED_RANGE, IMAGENET_RANGE, restored_picture


class Identity(nn.Module):
    """Gives back what it gets, with a second output."""

    input_range = output_range = IMAGENET_RANGE

    def forward(self, x):
        self.seen = x
        return [x, x[:, :1]]


def test_ranges_are_undone_and_the_first_output_is_the_picture():
    network, x = Identity(), torch.rand(2, 3, 4, 5)
    torch.testing.assert_close(restored_picture(network, x), x)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(network.seen, (x - mean.view(3, 1, 1)) / std.view(3, 1, 1))


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
