"""State dicts of a Stable Diffusion that diffusers and transformers have saved (`UNet2DConditionModel`,
`CLIPTextModel`), with the keys of latent diffusion and of OpenCLIP."""

from collections.abc import Iterator

import torch
from torch import Tensor

from .reading import State, count

RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
MIDDLE = {"resnets.0": "middle_block.0", "attentions.0": "middle_block.1", "resnets.1": "middle_block.2"}
TEXT_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
}
TEXT_ENDS = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}


def unet_from_diffusers(state: State) -> dict[str, Tensor]:
    """The tensors of a `UNet2DConditionModel` with latent diffusion's keys.

    Args:
        state: Its state dict, as in `unet/diffusion_pytorch_model.safetensors`.

    Raises:
        KeyError: A key has no place in latent diffusion's U-Net: it names it.
    """
    places = {f"{old}.": f"{new}." for old, new in _places(state)}
    return {_renamed(key, places): value for key, value in state.items()}


def _places(state: State) -> Iterator[tuple[str, str]]:
    yield from ENDS.items()
    for old, new in MIDDLE.items():
        yield from _part(f"mid_block.{old}", new)
    number = 1
    for level in range(count(state, "down_blocks.")):
        block = f"down_blocks.{level}"
        for k in range(count(state, f"{block}.resnets.")):
            yield from _step(block, k, f"input_blocks.{number}")
            number += 1
        if f"{block}.downsamplers.0.conv.weight" in state:
            yield f"{block}.downsamplers.0.conv", f"input_blocks.{number}.0.op"
            number += 1
    number = 0
    for level in range(count(state, "up_blocks.")):
        block = f"up_blocks.{level}"
        for k in range(count(state, f"{block}.resnets.")):
            yield from _step(block, k, f"output_blocks.{number}")
            number += 1
        # What doubles the sides follows the level's last block, and what attends there.
        attends = f"{block}.attentions.0.norm.weight" in state
        yield f"{block}.upsamplers.0.conv", f"output_blocks.{number - 1}.{1 + attends}.conv"


def _step(block: str, k: int, place: str) -> Iterator[tuple[str, str]]:
    yield from _part(f"{block}.resnets.{k}", f"{place}.0")
    yield from _part(f"{block}.attentions.{k}", f"{place}.1")


def _part(old: str, new: str) -> Iterator[tuple[str, str]]:
    if ".attentions." in old:
        yield old, new
        return
    for theirs, ours in RESNET.items():
        yield f"{old}.{theirs}", f"{new}.{ours}"


def _renamed(key: str, places: dict[str, str]) -> str:
    for old, new in places.items():
        if key.startswith(old):
            return new + key[len(old) :]
    raise KeyError(key)


def text_tower_from_transformers(state: State) -> dict[str, Tensor]:
    """The tensors of a `CLIPTextModel` with the keys of OpenCLIP's text tower.

    Args:
        state: Its state dict, as in `text_encoder/model.safetensors`: keys below `text_model.`, or below nothing.

    Raises:
        KeyError: A tensor is missing: it names it.
    """
    state = {key.removeprefix("text_model."): value for key, value in state.items()}
    tower = {new: state[old] for old, new in TEXT_ENDS.items()}
    for k in range(count(state, "encoder.layers.")):
        old, new = f"encoder.layers.{k}", f"transformer.resblocks.{k}"
        for kind in ("weight", "bias"):
            tower |= {f"{new}.{ours}.{kind}": state[f"{old}.{theirs}.{kind}"] for theirs, ours in TEXT_LAYER.items()}
            qkv = [state[f"{old}.self_attn.{part}_proj.{kind}"] for part in "qkv"]
            tower[f"{new}.attn.in_proj_{kind}"] = torch.cat(qkv)
    return tower
