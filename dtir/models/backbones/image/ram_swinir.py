"""SwinIR as RAM trains it (Qin et al., "Restore Anything with Masks", ECCV 2024; Liang et al., "SwinIR", ICCV workshops
2021), with the published state-dict keys."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.layers import pad_to_multiple
from dtir.models.backbones.parts.reading import State, count, factor, root
from dtir.models.backbones.parts.window_attention import WindowAttention, shift_mask
from dtir.models.backbones.traits import IMAGENET_RANGE, Published, Traits
from dtir.registry import BACKBONES

UPSAMPLERS = ("", "pixelshuffle")


class Mlp(nn.Module):
    """A feed-forward part.

    Args:
        dim: Channels.
        hidden: Hidden channels.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to the same shape."""
        return self.fc2(F.gelu(self.fc1(x)))


class SwinTransformerBlock(nn.Module):
    """Attention within windows, every other time within shifted ones, and a feed-forward part.

    Args:
        dim: Channels.
        input_resolution: Side of the pictures for which the published checkpoint stores its mask.
        num_heads: Heads.
        window_size: Side of the windows.
        shift_size: By how many pixels the windows are shifted.
        mlp_ratio: Hidden channels of the feed-forward part over `dim`.
        qkv_bias: As in `WindowAttention`.
        qk_scale: As in `WindowAttention`.
        drop_path: Probability in training that a part of the block is left out.
    """

    def __init__(
        self,
        dim: int,
        input_resolution: int,
        num_heads: int,
        window_size: int,
        shift_size: int,
        mlp_ratio: float,
        qkv_bias: bool,
        qk_scale: float | None,
        drop_path: float,
    ) -> None:
        super().__init__()
        if input_resolution <= window_size:
            shift_size, window_size = 0, input_resolution
        self.shift = shift_size
        # With it come parts of torch that take seconds to import.
        from torchvision.ops import StochasticDepth

        self.norm1 = nn.LayerNorm(dim)
        self.attn = WindowAttention(dim, window_size, num_heads, qkv_bias, qk_scale)
        self.drop_path = StochasticDepth(drop_path, "row")
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))
        mask = None
        if shift_size:
            # Kept for the sake of the published keys; a picture of another size needs another one.
            mask = shift_mask(input_resolution, input_resolution, window_size, shift_size, self.norm1.weight.detach())
        self.register_buffer("attn_mask", mask)

    def forward(self, x: Tensor, size: tuple[int, int], mask: Tensor) -> Tensor:
        """Tokens (B, H W, C), their height and width, and the mask of shifted windows, to tokens."""
        y = self.norm1(x).unflatten(1, size)
        if self.shift:
            y = self.attn(y.roll((-self.shift, -self.shift), (1, 2)), mask).roll((self.shift, self.shift), (1, 2))
        else:
            y = self.attn(y, None)
        x = x + self.drop_path(y.flatten(1, 2))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class RSTB(nn.Module):
    """Residual group of Swin transformer blocks and a convolution.

    Args:
        dim: Channels.
        blocks: The blocks.
        resi_connection: "1conv" or "3conv".
    """

    def __init__(self, dim: int, blocks: Sequence[nn.Module], resi_connection: str) -> None:
        super().__init__()
        self.residual_group = nn.ModuleDict({"blocks": nn.ModuleList(blocks)})
        self.conv = _closing_conv(dim, resi_connection)

    def forward(self, x: Tensor, size: tuple[int, int], mask: Tensor) -> Tensor:
        """Tokens (B, H W, C) to tokens."""
        y = x
        for block in self.residual_group["blocks"]:
            y = block(y, size, mask)
        return _tokens(self.conv(_features(y, size))) + x


def _closing_conv(dim: int, kind: str) -> nn.Module:
    if kind == "1conv":
        return nn.Conv2d(dim, dim, 3, padding=1)
    if kind != "3conv":
        raise ConfigError(f"RAMSwinIR: resi_connection={kind!r} is not known; use 1conv or 3conv.")
    return nn.Sequential(
        nn.Conv2d(dim, dim // 4, 3, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(dim // 4, dim // 4, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(dim // 4, dim, 3, padding=1),
    )


def _tokens(x: Tensor) -> Tensor:
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def _features(tokens: Tensor, size: tuple[int, int]) -> Tensor:
    return tokens.unflatten(1, size).permute(0, 3, 1, 2)


@BACKBONES.register_module()
class RAMSwinIR(nn.Module):
    """SwinIR for masked image modelling: ImageNet-normalised pictures in and out, without a global skip.

    The published checkpoint has embed_dim 180, six layers of depth 6 with 6 heads, window 8 and mlp_ratio 2.

    Args:
        img_size: Side of the pictures that can be masked, and for which the masks of shifted windows are stored.
        patch_size: 1.
        in_chans: Channels of the picture.
        embed_dim: Channels of the features.
        depths: Blocks of each layer.
        num_heads: Heads of each layer.
        window_size: Side of the windows.
        mlp_ratio: Hidden channels of the feed-forward parts over `embed_dim`.
        qkv_bias: Whether the projections to queries, keys and values have a bias.
        qk_scale: Factor of the logits; one over the square root of a head's channels by default.
        drop_path_rate: Probability in training that a part of the last block is left out; it grows from 0.
        patch_norm: Whether the features are normalised before the first layer.
        first_type: "1x1" or "3x3", the first convolution.
        upscale: Factor of the output's size, with upsampler "pixelshuffle".
        upsampler: "" or "pixelshuffle".
        resi_connection: "1conv" or "3conv".
        umbed: Whether the last skip starts after the first norm.
        finetune_type: Kind of RAM's fine-tuning; it changes nothing in the network.

    Raises:
        ConfigError: An option is not one of those named.
    """

    traits: ClassVar[Traits] = Traits(
        input_range=IMAGENET_RANGE, output_range=IMAGENET_RANGE, size_multiple=8, tiles="exact"
    )
    PUBLISHED: ClassVar[Mapping[str, Published]] = {"ram_swinir": Published({}, 11.51)}

    def __init__(
        self,
        img_size: int = 64,
        patch_size: int = 1,
        in_chans: int = 3,
        embed_dim: int = 180,
        depths: Sequence[int] = (6, 6, 6, 6, 6, 6),
        num_heads: Sequence[int] = (6, 6, 6, 6, 6, 6),
        window_size: int = 8,
        mlp_ratio: float = 2.0,
        qkv_bias: bool = True,
        qk_scale: float | None = None,
        drop_path_rate: float = 0.1,
        patch_norm: bool = True,
        first_type: str = "1x1",
        upscale: int = 1,
        upsampler: str = "",
        resi_connection: str = "1conv",
        umbed: bool = True,
        finetune_type: str | None = None,
    ) -> None:
        super().__init__()
        if patch_size != 1:
            raise ConfigError(f"RAMSwinIR: patch_size={patch_size}; the published networks restore with patch_size=1.")
        if upsampler not in UPSAMPLERS or (upscale > 1) != bool(upsampler) or upscale & (upscale - 1):
            raise ConfigError(
                f"RAMSwinIR: upscale={upscale} with upsampler={upsampler!r}; use 1 with '' or a power of 2 with "
                "'pixelshuffle'."
            )
        if len(depths) != len(num_heads):
            raise ConfigError(f"RAMSwinIR: depths={list(depths)} and num_heads={list(num_heads)} must be equally long.")
        self.upscale, self.window, self.shift, self.umbed = upscale, window_size, window_size // 2, umbed
        self.traits = dataclasses.replace(type(self).traits, size_multiple=window_size, scale=upscale)
        side = 1 if first_type == "1x1" else 3
        self.conv_first = nn.Conv2d(in_chans, embed_dim, side, padding=side // 2)
        self.mask_token = nn.Parameter(torch.zeros(1, 3, img_size, img_size))
        self.patch_embed = nn.ModuleDict({"norm": nn.LayerNorm(embed_dim)} if patch_norm else {})
        rates = iter(torch.linspace(0, drop_path_rate, sum(depths), device="cpu").tolist())
        self.layers = nn.ModuleList()
        for depth, heads in zip(depths, num_heads, strict=True):
            blocks = [
                SwinTransformerBlock(
                    embed_dim,
                    img_size,
                    heads,
                    window_size,
                    self.shift if k % 2 else 0,
                    mlp_ratio,
                    qkv_bias,
                    qk_scale,
                    next(rates),
                )
                for k in range(depth)
            ]
            self.layers.append(RSTB(embed_dim, blocks, resi_connection))
        self.norm = nn.LayerNorm(embed_dim)
        self.conv_after_body = _closing_conv(embed_dim, resi_connection)
        width = 64 if upsampler else embed_dim
        if upsampler:
            self.conv_before_upsample = nn.Sequential(nn.Conv2d(embed_dim, width, 3, padding=1), nn.LeakyReLU())
            steps = [(nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2)) for _ in range(_log2(upscale))]
            self.upsample = nn.Sequential(*[module for step in steps for module in step])
        self.conv_last = nn.Conv2d(width, in_chans, 3, padding=1)
        self.apply(_init)

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes.

        Raises:
            KeyError: The keys are another network's.
        """
        first, layers = state["conv_first.weight"], range(count(state, "layers."))
        blocks = [f"layers.{i}.residual_group.blocks." for i in layers]
        table = state[f"{blocks[0]}0.attn.relative_position_bias_table"]
        hidden = len(state[f"{blocks[0]}0.mlp.fc1.weight"])
        doublings = sum(f"upsample.{k}.weight" in state for k in range(0, 2 * count(state, "upsample."), 2))
        return {
            "img_size": state["mask_token"].shape[-1],
            "in_chans": first.shape[1],
            "embed_dim": len(first),
            "depths": [count(state, block) for block in blocks],
            "num_heads": [state[f"{block}0.attn.relative_position_bias_table"].shape[1] for block in blocks],
            "window_size": (root(len(table)) + 1) // 2,
            "mlp_ratio": factor([(len(first), hidden)]),
            "qkv_bias": f"{blocks[0]}0.attn.qkv.bias" in state,
            "patch_norm": "patch_embed.norm.weight" in state,
            "first_type": "1x1" if first.shape[-1] == 1 else "3x3",
            "upscale": 2**doublings,
            "upsampler": "pixelshuffle" if doublings else "",
            "resi_connection": "3conv" if "conv_after_body.0.weight" in state else "1conv",
        }

    def ordered_blocks(self) -> list[str]:
        """The transformer blocks, shallow to deep."""
        return [
            f"layers.{i}.residual_group.blocks.{k}"
            for i, layer in enumerate(self.layers)
            for k in range(len(layer.residual_group["blocks"]))
        ]

    def forward(self, x: Tensor, mask: Tensor | None = None, mask_tokens: Tensor | None = None) -> Tensor:
        """Normalised (B, in_chans, H, W), H, W >= 1, to (B, in_chans, upscale H, upscale W) in the same range.

        Args:
            x: The pictures.
            mask: (B, H, W), 1 where a pixel is hidden from the network; None hides nothing.
            mask_tokens: (B, in_chans, H, W), what is seen in place of hidden pixels; the learned ones by default.
        """
        height, width = x.shape[-2:]
        if mask is not None:
            hidden = mask[:, None]
            x = x * (1 - hidden) + (self.mask_token if mask_tokens is None else mask_tokens) * hidden
        first = self.conv_first(pad_to_multiple(x, self.window))
        size = tuple(first.shape[-2:])
        apart = shift_mask(*size, self.window, self.shift, first)
        tokens = _tokens(first)
        if "norm" in self.patch_embed:
            tokens = self.patch_embed["norm"](tokens)
        skip = _features(tokens, size) if self.umbed else first
        for layer in self.layers:
            tokens = layer(tokens, size, apart)
        out = self.conv_after_body(_features(self.norm(tokens), size)) + skip
        if self.upscale > 1:
            out = self.upsample(self.conv_before_upsample(out))
        return self.conv_last(out)[..., : height * self.upscale, : width * self.upscale]


def _log2(n: int) -> int:
    return int(math.log2(n))


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
