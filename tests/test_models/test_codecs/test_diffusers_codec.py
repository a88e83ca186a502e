"""Our autoencoders equal diffusers' with the same weights, and others of diffusers are codecs by adapter."""

import sys

import pytest
import torch
from safetensors.torch import save_file

from dtir.core.errors import ConfigError
from dtir.models.codecs import AutoencoderKL, DiffusersCodec, VQModel

SHAPE = {
    "down_block_types": ["DownEncoderBlock2D"] * 2,
    "up_block_types": ["UpDecoderBlock2D"] * 2,
    "block_out_channels": [32, 64],
    "layers_per_block": 1,
}
OURS = {"ch": 32, "ch_mult": [1, 2], "num_res_blocks": 1}
CASES = {
    "AutoencoderKL": (
        {**SHAPE, "latent_channels": 4, "_class_name": "AutoencoderKL"},
        lambda file: AutoencoderKL(ddconfig={**OURS, "z_channels": 4}, weights=file),
    ),
    "VQModel": (
        {**SHAPE, "latent_channels": 3, "vq_embed_dim": 3, "num_vq_embeddings": 16, "scaling_factor": 1.0},
        lambda file: VQModel(ddconfig={**OURS, "z_channels": 3, "double_z": False}, n_embed=16, weights=file),
    ),
}


@pytest.fixture
def diffusers():
    return pytest.importorskip("diffusers", reason="diffusers is not installed (extra 'diffusers')")


@torch.no_grad()
@pytest.mark.parametrize("name", CASES)
def test_ours_equals_diffusers_with_its_file(name, diffusers, tmp_path):
    torch.manual_seed(0)
    config, ours = CASES[name]
    theirs, picture = DiffusersCodec(name, config), torch.rand(1, 3, 15, 18)
    file = str(tmp_path / "diffusion_pytorch_model.safetensors")
    save_file({key: value.clone() for key, value in theirs.network.state_dict().items()}, file)
    codec = ours(file)
    codec.init_weights()
    (z, kept), (expected, _) = codec.encode(picture), theirs.encode(picture)
    assert (codec.channels, codec.factor) == (theirs.channels, theirs.factor) == (z.shape[1], 2)
    torch.testing.assert_close(z, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(codec.decode(z, kept, picture), theirs.decode(z, None, picture), rtol=1e-4, atol=1e-5)
    again = DiffusersCodec(name, config, weights=file)
    again.init_weights()
    assert torch.equal(again.encode(picture)[0], expected)
    assert not list(again.parameters())


def test_an_unknown_autoencoder_is_named(diffusers):
    with pytest.raises(ConfigError, match=r"diffusers has no autoencoder 'AutoencoderK1'\. Did you mean"):
        DiffusersCodec("AutoencoderK1")


def test_without_diffusers_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(ConfigError, match=r"needs the extra 'diffusers'.*pip install 'dtir\[diffusers\]'"):
        DiffusersCodec()
