"""Codecs encode pictures of any size, decode to that size, and are never trained."""

import pytest
import torch
from torch import nn

from dtir.core.errors import CheckpointError, ConfigError
from dtir.models.codecs import (
    AutoencoderKL,
    AutoencoderKLResi,
    DiffusersCodec,
    Encoder,
    LatentUNetCodec,
    VQModel,
    build_codec,
)
from dtir.models.codecs.autoencoders import KL_F8, VQ_F4, VectorQuantizer
from dtir.registry import CODECS
from dtir.testing.small_codecs import SMALL_CODECS

SMALL = {"image": {}, "centred": {}, **SMALL_CODECS}


def small(name: str, **options):
    torch.manual_seed(0)
    return CODECS.build({"type": name, **SMALL[name], **options})


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size", [(1, 1), (17, 30)])
@torch.no_grad()
def test_pictures_of_any_size_come_back_in_theirs(name, size):
    codec, picture = small(name), torch.rand(2, 3, *size)
    z, kept = codec.encode(picture)
    assert z.shape[1] == codec.channels
    assert all(codec.factor * code >= side for code, side in zip(z.shape[-2:], size, strict=True))
    assert all(codec.factor * (code - 2) < side for code, side in zip(z.shape[-2:], size, strict=True))
    assert codec.decode(z, kept, picture).shape == picture.shape


@pytest.mark.parametrize("name", SMALL)
def test_nothing_is_trained(name):
    codec = small(name).train()
    assert not list(codec.parameters())
    assert not any(module.training for module in codec.modules())
    z, _ = codec.encode(torch.rand(1, 3, 8, 8))
    assert not z.requires_grad


def test_every_codec_is_here():
    # Of diffusers' autoencoders there are tests of their own.
    assert {CODECS.get(name) for name in SMALL} == set(CODECS.module_dict.values()) - {DiffusersCodec}


def test_earlier_names_and_mistakes():
    assert torch.equal(build_codec(None, None).encode(torch.zeros(1, 3, 1, 1))[0], -torch.ones(1, 3, 1, 1))
    assert build_codec(None, "image").encode(torch.zeros(1))[0] == 0
    assert isinstance(build_codec({"type": "VQModel", **SMALL["VQModel"]}, None), VQModel)
    with pytest.raises(ConfigError, match=r"model\.domain='latent'; expected one of image, centred"):
        build_codec(None, "latent")
    with pytest.raises(ConfigError, match=r"model\.codec='VQModel'; expected"):
        build_codec("VQModel", None)
    with pytest.raises(ConfigError, match=r"model\.domain='image' is the earlier name of model\.codec"):
        build_codec("image", "image")


def test_published_sizes():
    def size(codec) -> int:
        return sum(buffer.numel() for buffer in codec.buffers())

    with torch.device("meta"):
        # Stable Diffusion's 83.65 M, latent diffusion's VQ-f4 with 8192 entries 55.32 M.
        assert size(AutoencoderKL(**KL_F8)) == 83_653_863
        assert size(VQModel(**VQ_F4)) == 55_322_782
        keys = AutoencoderKLResi().state_dict()
        refusion = LatentUNetCodec(ch=8, ch_mult=[4, 8, 8, 16], embed_dim=8)
    assert keys["decoder.fusion_layer_2.encode_enc_2.1.rdb3.conv5.weight"].shape == (512, 640, 3, 3)
    assert keys["encoder.down.3.block.1.conv2.weight"].shape == (512, 512, 3, 3)
    assert (refusion.channels, refusion.factor) == (8, 8)


@torch.no_grad()
def test_means_are_scaled_and_undone():
    codec, picture = small("AutoencoderKL"), torch.rand(1, 3, 8, 8)
    mean = codec.quant_conv(codec.encoder(2 * picture - 1))[:, :3]
    z, _ = codec.encode(picture)
    torch.testing.assert_close(z, 0.18215 * mean)
    other = small("AutoencoderKL", scale_factor=1.0)
    torch.testing.assert_close(codec.decode(z, None, picture), other.decode(mean, None, picture), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_quantiser_takes_the_nearest():
    quantiser = VectorQuantizer(3, 2)
    quantiser.embedding.weight.copy_(torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, -2.0]]))
    z = torch.tensor([[0.1, 0.7, -0.2], [0.2, 0.9, -1.9]]).view(1, 2, 1, 3)
    assert quantiser(z).tolist() == [[[[0.0, 1.0, 0.0]], [[0.0, 1.0, -2.0]]]]


@torch.no_grad()
def test_wrapped_features_and_colours_are_the_degraded_pictures():
    codec, lq = small("AutoencoderKLResi"), torch.rand(1, 3, 16, 16)
    z, kept = codec.encode(lq)
    _, other = codec.encode(1 - lq)
    plain = codec.decode(z, kept, lq)
    assert (codec.decode(z, other, lq) - plain).abs().max() > 1e-3
    fixed = small("AutoencoderKLResi", colour_fix="adain").decode(z, kept, lq)
    torch.testing.assert_close(fixed.mean((2, 3)), lq.mean((2, 3)), rtol=1e-3, atol=1e-4)
    assert (plain.mean((2, 3)) - lq.mean((2, 3))).abs().max() > 1e-3
    with pytest.raises(ConfigError, match="colour_fix='hue'"):
        small("AutoencoderKL", colour_fix="hue")


def published(codec: nn.Module, prefix: str) -> dict[str, torch.Tensor]:
    state = {f"{prefix}{key}": torch.randn_like(value) for key, value in codec.published.state_dict().items()}
    return {"loss.discriminator.weight": torch.zeros(1), **state}


@pytest.mark.parametrize("name", sorted(set(SMALL) - {"image", "centred"}))
@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
def test_weights_are_read_below_any_prefix(name, prefix, tmp_path):
    file = tmp_path / "weights.ckpt"
    state = published(small(name), prefix)
    torch.save({"state_dict": state, "global_step": 3}, file)
    codec = small(name, weights=str(file))
    codec.init_weights()
    for key, value in codec.published.state_dict().items():
        assert torch.equal(value, state[f"{prefix}{key}"])


def test_wrong_weights_are_named(tmp_path):
    file = tmp_path / "weights.pth"
    torch.save(published(small("AutoencoderKL"), ""), file)
    with pytest.raises(CheckpointError, match=r"weights\.pth' does not hold the weights of VQModel.*encoder\.conv_in"):
        small("VQModel", weights=str(file)).init_weights()
    wider = {**SMALL["AutoencoderKL"]["ddconfig"], "ch": 64}
    with pytest.raises(CheckpointError, match="another shape"):
        small("AutoencoderKL", weights=str(file), ddconfig=wider).init_weights()


DIFFUSERS = {
    "encoder.conv_in.weight": "encoder.conv_in.weight",
    "encoder.down_blocks.0.resnets.0.norm1.weight": "encoder.down.0.block.0.norm1.weight",
    "encoder.down_blocks.0.resnets.0.conv_shortcut.bias": "encoder.down.0.block.0.nin_shortcut.bias",
    "encoder.down_blocks.0.downsamplers.0.conv.weight": "encoder.down.0.downsample.conv.weight",
    "encoder.down_blocks.1.attentions.0.to_out.0.bias": "encoder.down.1.attn.0.proj_out.bias",
    "encoder.mid_block.resnets.0.conv1.weight": "encoder.mid.block_1.conv1.weight",
    "encoder.mid_block.resnets.1.conv2.weight": "encoder.mid.block_2.conv2.weight",
    "encoder.mid_block.attentions.0.group_norm.weight": "encoder.mid.attn_1.norm.weight",
    "encoder.mid_block.attentions.0.to_q.weight": "encoder.mid.attn_1.q.weight",
    "encoder.mid_block.attentions.0.proj_attn.weight": "encoder.mid.attn_1.proj_out.weight",
    "encoder.conv_norm_out.weight": "encoder.norm_out.weight",
    "decoder.up_blocks.0.resnets.1.conv1.weight": "decoder.up.2.block.1.conv1.weight",
    "decoder.up_blocks.0.upsamplers.0.conv.bias": "decoder.up.2.upsample.conv.bias",
    "decoder.up_blocks.2.resnets.0.conv1.weight": "decoder.up.0.block.0.conv1.weight",
    "quant_conv.weight": "quant_conv.weight",
    "quantize.embedding.weight": "quantize.embedding.weight",
}


def test_keys_of_diffusers_are_translated():
    from dtir.models.codecs.diffusers_keys import from_diffusers

    state = {key: torch.rand(2, 2) for key in DIFFUSERS}
    found = from_diffusers(state)
    assert sorted(found) == sorted(DIFFUSERS.values())
    assert found["encoder.mid.attn_1.q.weight"].shape == (2, 2, 1, 1)
    assert found["decoder.up.0.block.0.conv1.weight"] is state["decoder.up_blocks.2.resnets.0.conv1.weight"]


def test_encoders_take_published_arguments():
    assert Encoder(**KL_F8["ddconfig"] | {"ch": 32}).conv_out.out_channels == 8
