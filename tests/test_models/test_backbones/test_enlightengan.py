from argparse import Namespace

import pytest
import torch

from dtir.core.errors import ConfigError
from dtir.models.backbones import EnlightenGAN
from dtir.models.backbones.image.enlightengan import darkness
from dtir.registry import BACKBONES

PUBLISHED = Namespace(self_attention=True, use_norm=1, use_avgpool=0, tanh=False, times_residual=True, skip=1.0)


def test_published_size_and_keys():
    with torch.device("meta"):
        model = BACKBONES.build({"type": "Unet_resize_conv"})
    assert sum(p.numel() for p in model.parameters()) == 8_636_675
    keys = model.state_dict()
    assert keys["conv1_1.weight"].shape == (32, 4, 3, 3)
    assert keys["deconv5.weight"].shape == (256, 512, 3, 3)
    assert "bn9_1.running_mean" in keys
    assert "bn9_2.weight" not in keys


def test_darkness_is_one_where_nothing_is_lit():
    picture = torch.stack([-torch.ones(3, 2, 2), torch.ones(3, 2, 2), torch.zeros(3, 2, 2)])
    torch.testing.assert_close(darkness(picture)[:, 0, 0, 0], torch.tensor([1.0, 0.0, 0.5]))


@torch.no_grad()
def test_light_is_added_where_the_attention_is():
    torch.manual_seed(0)
    model, x, gray = EnlightenGAN().eval(), torch.rand(1, 3, 16, 16) - 1, torch.zeros(1, 1, 16, 16)
    gray[..., :8] = 1
    lit, added = model(x, gray)
    torch.testing.assert_close(lit, x + added)
    assert not added[..., 8:].any()
    assert added[..., :8].all()


@torch.no_grad()
def test_pictures_are_padded_on_both_sides():
    torch.manual_seed(0)
    model, x = EnlightenGAN().eval(), torch.rand(1, 3, 16, 13) * 2 - 1
    padded = torch.cat([x[..., 1:2], x, x[..., -3:-1].flip(-1)], -1)
    torch.testing.assert_close(model(x)[0], model(padded)[0][..., 1:14])


@torch.no_grad()
def test_published_options_are_read():
    torch.manual_seed(0)
    x = torch.rand(1, 3, 16, 16)
    model = EnlightenGAN(PUBLISHED, True).eval()
    torch.manual_seed(0)
    torch.rand(1, 3, 16, 16)
    assert torch.equal(model(x)[0], EnlightenGAN().eval()(x)[0])
    without = EnlightenGAN({"self_attention": False, "use_norm": 0, "tanh": True}, skip=False).eval()
    assert without.conv1_1.in_channels == 3
    assert without(x).abs().max() <= 1


def test_options_that_are_not_offered_are_named():
    with pytest.raises(ConfigError, match="latent_norm"):
        EnlightenGAN(Namespace(latent_norm=1))
