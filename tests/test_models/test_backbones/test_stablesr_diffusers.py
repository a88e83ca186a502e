"""StableSR on a Stable Diffusion 2 that diffusers has saved: ours equals its U-Net and its text encoder."""

import pytest
import torch
from safetensors.torch import save_file

from dtir.apis import load_backbone
from dtir.core.errors import CheckpointError
from dtir.models.backbones import StableSR
from dtir.models.backbones.parts.clip_text import empty_prompt
from dtir.models.backbones.parts.diffusers_unet import text_tower_from_transformers, unet_from_diffusers

UNET = {
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (64, 128),
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "layers_per_block": 2,
    "cross_attention_dim": 64,
    # Named so in Stable Diffusion 2, too, these are numbers of heads, of 64 channels each.
    "attention_head_dim": (1, 2),
    "use_linear_projection": True,
}
TEXT = {
    "vocab_size": 10,
    "hidden_size": 64,
    "intermediate_size": 256,
    "num_hidden_layers": 2,
    "num_attention_heads": 1,
    "max_position_embeddings": 5,
    "hidden_act": "gelu",
}
# Of two levels with one residual block each, of which the finer one attends.
KEYS = {
    "conv_in.weight": "input_blocks.0.0.weight",
    "time_embedding.linear_1.bias": "time_embed.0.bias",
    "time_embedding.linear_2.weight": "time_embed.2.weight",
    "down_blocks.0.resnets.0.norm1.weight": "input_blocks.1.0.in_layers.0.weight",
    "down_blocks.0.attentions.0.norm.weight": "input_blocks.1.1.norm.weight",
    "down_blocks.0.downsamplers.0.conv.weight": "input_blocks.2.0.op.weight",
    "down_blocks.1.resnets.0.conv_shortcut.weight": "input_blocks.3.0.skip_connection.weight",
    "mid_block.resnets.0.time_emb_proj.weight": "middle_block.0.emb_layers.1.weight",
    "mid_block.attentions.0.proj_in.weight": "middle_block.1.proj_in.weight",
    "mid_block.resnets.1.conv2.bias": "middle_block.2.out_layers.3.bias",
    "up_blocks.0.resnets.0.norm2.weight": "output_blocks.0.0.out_layers.0.weight",
    "up_blocks.0.resnets.1.conv1.weight": "output_blocks.1.0.in_layers.2.weight",
    "up_blocks.0.upsamplers.0.conv.bias": "output_blocks.1.1.conv.bias",
    "up_blocks.1.resnets.1.conv1.weight": "output_blocks.3.0.in_layers.2.weight",
    "up_blocks.1.resnets.0.conv1.weight": "output_blocks.2.0.in_layers.2.weight",
    "up_blocks.1.attentions.0.norm.weight": "output_blocks.2.1.norm.weight",
    "up_blocks.1.attentions.1.transformer_blocks.0.attn1.to_q.weight": (
        "output_blocks.3.1.transformer_blocks.0.attn1.to_q.weight"
    ),
    "conv_norm_out.weight": "out.0.weight",
    "conv_out.bias": "out.2.bias",
}


def text_tower(layers: int) -> dict[str, torch.Tensor]:
    """A text tower with transformers' keys."""
    generator = torch.Generator().manual_seed(2)

    def some(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator) / 8

    state = {"embeddings.token_embedding.weight": some(10, 64), "embeddings.position_embedding.weight": some(5, 64)}
    for k in range(layers):
        below = f"encoder.layers.{k}."
        sides = {"mlp.fc1": (256, 64), "mlp.fc2": (64, 256)}
        sides |= {f"self_attn.{part}_proj": (64, 64) for part in ("q", "k", "v", "out")}
        for name, shape in sides.items():
            state |= {f"{below}{name}.weight": some(*shape), f"{below}{name}.bias": some(shape[0])}
        for name in ("layer_norm1", "layer_norm2"):
            state |= {f"{below}{name}.weight": some(64), f"{below}{name}.bias": some(64)}
    state |= {"final_layer_norm.weight": some(64), "final_layer_norm.bias": some(64)}
    return {f"text_model.{key}": value for key, value in state.items()}


def test_keys_of_a_unet_are_translated():
    state = {key: torch.rand(2) for key in KEYS}
    found = unet_from_diffusers(state)
    assert {key: found[new] for key, new in KEYS.items()} == state
    assert len(found) == len(KEYS)
    with pytest.raises(KeyError, match=r"add_embedding\.linear_1\.weight"):
        unet_from_diffusers({**state, "add_embedding.linear_1.weight": torch.rand(2)})


@torch.no_grad()
def test_the_empty_text_is_that_of_transformers():
    transformers = pytest.importorskip("transformers", reason="transformers is not installed (extra 'language')")
    state = text_tower(2)
    model = transformers.CLIPTextModel(transformers.CLIPTextConfig(**TEXT)).eval()
    known = model.state_dict()
    names = {key: key if key in known else key.removeprefix("text_model.") for key in state}
    model.load_state_dict({names[key]: value for key, value in state.items()})
    expected = model(torch.tensor([[8, 9, 0, 0, 0]])).last_hidden_state
    found = empty_prompt(text_tower_from_transformers(state), left_out=0)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_training_starts_from_what_diffusers_saves(tmp_path):
    diffusers = pytest.importorskip("diffusers", reason="diffusers is not installed (extra 'diffusers')")
    torch.manual_seed(0)
    theirs = diffusers.UNet2DConditionModel(**UNET).eval()
    for p in theirs.parameters():
        p.add_(0.02 * torch.randn_like(p))
    theirs.save_pretrained(tmp_path / "unet")
    (tmp_path / "text_encoder").mkdir()
    save_file(text_tower(2), tmp_path / "text_encoder" / "model.safetensors")
    network = load_backbone("StableSR", tmp_path)
    assert isinstance(network, StableSR)
    x, t = torch.randn(2, 4, 8, 12), torch.tensor([3, 700])
    expected = theirs(x, t, network.context.expand(2, -1, -1)).sample
    torch.testing.assert_close(network.unet(x, t, network.context.expand(2, -1, -1)), expected, rtol=1e-4, atol=1e-5)
    (tmp_path / "text_encoder" / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no text_encoder/model\.safetensors; StableSR"):
        load_backbone("StableSR", tmp_path)


def test_other_folders_are_refused(tmp_path):
    for part in ("unet", "text_encoder"):
        (tmp_path / part).mkdir()
    tensors = {"mid_block.attentions.0.proj_in.weight": torch.zeros(4, 4, 1, 1), "conv_in.weight": torch.zeros(1)}
    save_file(tensors, tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    save_file(text_tower(1), tmp_path / "text_encoder" / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"Stable Diffusion 1 .* goes on from Stable Diffusion 2"):
        load_backbone("StableSR", tmp_path)
    tensors["mid_block.attentions.0.proj_in.weight"] = torch.zeros(4, 4)
    save_file(tensors, tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    with pytest.raises(CheckpointError, match=r"are not those of StableSR"):
        load_backbone(tmp_path)
