import pytest
import torch
from parity_case import ParityCase

from dtir.core.errors import ConfigError
from dtir.models.codecs import Decoder, Decoder_Mix, Encoder

SMALL = {"ch": 32, "ch_mult": [1, 1, 2], "num_res_blocks": 1, "attn_resolutions": [], "resolution": 32}
# Ten times what these networks differ by in float32 from themselves in float64, 2.5e-6; the fixture states no floor.
BOUND = 2.5e-5


@torch.no_grad()
def test_encoder_and_feature_wrapping_equal_the_published_ones(parity_dir):
    case = ParityCase(parity_dir, "stablesr_cfw")
    encoder = Encoder(**case.meta["encoder_kwargs"]).eval()
    encoder.load_state_dict(case.state_dict("encoder_recipe"), strict=True)
    decoder = case.load(Decoder_Mix(**case.meta["kwargs"]))
    assert decoder.fusion_w == case.meta["fusion_w"]
    picture = case.array("img")
    moments, features = encoder(picture, return_fea=True)
    assert (moments - case.array("moments")).abs().max() <= BOUND
    assert torch.equal(encoder(picture), moments)
    assert len(features) == 2
    for number, found in enumerate(features):
        assert (found - case.array(f"fea{number}")).abs().max() <= BOUND
    assert (decoder(case.array("z"), features) - case.array("y0")).abs().max() <= BOUND


@torch.no_grad()
def test_without_weight_the_wrapping_decoder_is_the_plain_one():
    torch.manual_seed(0)
    wrapping, plain = Decoder_Mix(fusion_w=0.0, num_fuse_block=1, **SMALL).eval(), Decoder(**SMALL).eval()
    plain.load_state_dict({k: v for k, v in wrapping.state_dict().items() if "fusion" not in k})
    z, features = torch.rand(1, 4, 4, 6), [torch.rand(1, 32, 8, 12)]
    torch.testing.assert_close(wrapping(z, features), plain(z))
    wrapping.fusion_w = 0.5
    assert (wrapping(z, features) - plain(z)).abs().max() > 1e-3


@torch.no_grad()
def test_sizes_attention_and_options():
    encoder = Encoder(**{**SMALL, "attn_resolutions": [16], "double_z": False, "z_channels": 3})
    assert "down.1.attn.0.q.weight" in encoder.state_dict()
    assert "down.0.attn.0.q.weight" not in encoder.state_dict()
    assert encoder(torch.rand(1, 3, 16, 24)).shape == (1, 3, 4, 6)
    decoder = Decoder(**{**SMALL, "attn_resolutions": [16], "tanh_out": True, "attn_type": "none"})
    assert not any(".attn" in key for key in decoder.state_dict())
    assert decoder(100 * torch.rand(1, 4, 4, 6)).abs().max() <= 1
    assert Decoder(**SMALL, give_pre_end=True)(torch.rand(1, 4, 4, 6)).shape == (1, 32, 16, 24)
    assert Encoder(**SMALL, resamp_with_conv=False)(torch.rand(1, 3, 8, 8)).shape == (1, 8, 2, 2)
    assert Decoder(**SMALL, resamp_with_conv=False)(torch.rand(1, 4, 2, 2)).shape == (1, 3, 8, 8)


@pytest.mark.parametrize("levels", [2, 3, 4, 5])
@torch.no_grad()
def test_features_go_to_the_levels_that_fuse(levels):
    options = {"ch": 32, "ch_mult": [1, 2, 3, 4, 5][:levels], "num_res_blocks": 1}
    _, features = Encoder(**options)(torch.rand(1, 3, 32, 32), return_fea=True)
    decoder = Decoder_Mix(num_fuse_block=1, **options)
    fusing = [f"fusion_layer_{number}" for number in range(1, levels - 1)]
    assert [name for name, _ in decoder.named_children() if "fusion" in name] == fusing
    side = 32 // 2 ** (levels - 1)
    assert decoder(torch.rand(1, 4, side, side), features).shape == (1, 3, 32, 32)


def test_levels_may_have_their_own_numbers_of_blocks():
    options = {**SMALL, "num_res_blocks": [1, 2, 3]}
    encoder, decoder = Encoder(**options), Decoder(**options)
    assert [len(level.block) for level in encoder.down] == [1, 2, 3]
    assert [len(level.block) for level in decoder.up] == [2, 3, 4]
    with pytest.raises(ConfigError, match=r"ddconfig: num_res_blocks=\[1, 2\] must have one entry for each of 3"):
        Encoder(**{**SMALL, "num_res_blocks": [1, 2]})
    with pytest.raises(ConfigError, match="use_linear_attn"):
        Decoder(**SMALL, use_linear_attn=True)


@pytest.mark.parametrize(("wrong", "said"), [("attn_type", "vanilla, none"), ("padding_mode", "'zeros'")])
def test_wrong_settings_are_named(wrong, said):
    with pytest.raises(ConfigError, match=f"ddconfig.{wrong}='linear'.*{said}"):
        Decoder(**SMALL, **{wrong: "linear"})
