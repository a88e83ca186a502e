import pytest
import torch
from torch import nn

from dtir.core.errors import ConfigError
from dtir.models import ConditionedNetwork
from dtir.models.backbones import NAFNet
from dtir.regularizers.depth import num_blocks, parameter_depths
from dtir.testing import TinyBackbone


def test_what_lies_between_blocks_belongs_to_the_one_before():
    backbone = NAFNet(width=4, enc_blk_nums=[1, 1], middle_blk_num=1, dec_blk_nums=[1, 1])
    depths = parameter_depths(ConditionedNetwork(backbone, embed_dim=8, adapter={"type": "MoEAdapter"}))
    order = backbone.ordered_blocks()
    assert order == ["encoders.0.0", "encoders.1.0", "middle_blks.0", "decoders.0.0", "decoders.1.0"]
    expected = {
        "backbone.intro.weight": 0,
        "backbone.encoders.0.0.conv1.weight": 0,
        "backbone.downs.0.weight": 0,
        "backbone.encoders.1.0.beta": 1,
        "backbone.downs.1.bias": 1,
        "backbone.middle_blks.0.conv2.weight": 2,
        "backbone.ups.0.0.weight": 2,
        "backbone.ups.1.0.weight": 3,
        "backbone.decoders.1.0.gamma": 4,
        "backbone.ending.bias": 4,
        "adapters.3.experts.up": 3,
        "embedding.mlp.0.weight": 0,
        "prompt.learned": 0,
    }
    assert {name: depths[name].item() for name in expected} == expected


def test_rows_of_the_modulation_belong_to_their_blocks():
    network = ConditionedNetwork(TinyBackbone(width=3), embed_dim=8)
    depths = parameter_depths(network)
    assert num_blocks(network) == 2
    # Gains of both blocks, then shifts.
    assert depths["to_modulation.bias"].tolist() == [0, 0, 0, 1, 1, 1] * 2
    assert depths["to_modulation.weight"].shape == (12, 1)
    assert torch.broadcast_shapes(depths["to_modulation.weight"].shape, network.to_modulation.weight.shape) == (12, 8)


def test_a_network_without_conditioning_is_refused():
    with pytest.raises(ConfigError, match="Conv2d has no ordered blocks"):
        parameter_depths(nn.Conv2d(3, 3, 1))
