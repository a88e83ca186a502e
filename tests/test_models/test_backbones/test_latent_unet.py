import torch

from dtir.models.backbones import LatentUNet
from dtir.registry import BACKBONES


@torch.no_grad()
def test_latent_pictures_are_smaller_and_decode_to_the_picture():
    model = BACKBONES.build({"type": "UNet", "ch": 8, "ch_mult": [1, 2, 2], "embed_dim": 5}).eval()
    x = torch.rand(2, 3, 16, 24)
    latent, features = model.encode(x)
    assert latent.shape == (2, 5, 4, 6)
    assert torch.equal(model.decode(latent, features), model(x))


def test_the_picture_comes_from_latent_and_skips():
    torch.manual_seed(0)
    model = LatentUNet(ch=8, ch_mult=[1, 2])
    latent, features = model.encode(torch.rand(1, 3, 8, 8))
    gradients = torch.autograd.grad(model.decode(latent, features).square().sum(), [latent, *features])
    assert all(gradient.any() for gradient in gradients)


def test_only_the_lowest_level_attends_and_keys_are_published():
    with torch.device("meta"):
        keys = LatentUNet().state_dict()
    attention = {key.rsplit(".2.", 1)[0] for key in keys if ".2.fn." in key}
    assert attention == {"encoder.3", "decoder.0"}
    assert keys["latent_conv.weight"].shape == (4, 256, 1, 1)
    assert keys["encoder.0.3.weight"].shape == (64, 64, 4, 4)
    assert keys["encoder.3.3.weight"].shape == (256, 256, 3, 3)
    assert keys["decoder.3.3.weight"].shape == (64, 64, 3, 3)
    assert not any(".mlp." in key for key in keys)
