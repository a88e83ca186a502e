"""PromptIR (Potlapalli et al., "PromptIR: Prompting for All-in-One Blind Image Restoration", NeurIPS 2023).

Also as trained by RAM (Qin et al., "Restore Anything with Masks", ECCV 2024). State-dict keys are the published ones.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.layers import PointwiseConv2d, channels_last, pad_to_multiple
from dtir.models.backbones.parts.reading import State, factor
from dtir.models.backbones.traits import IMAGENET_RANGE, Published, Traits
from dtir.registry import BACKBONES

from .restormer import (
    LEVELS,
    Downsample,
    OverlapPatchEmbed,
    TransformerBlock,
    Upsample,
    check_levels,
    ffn_widths,
    unet_settings,
)

# Channels of the prompts, fixed by the published parameters, shallow level first.
PROMPT_DIMS = (64, 128, 320)
PROMPT_SIZES = (64, 32, 16)
PROMPT_FEATURES = (96, 192, 384)


class PromptGenBlock(nn.Module):
    """A prompt for the features: learned ones, mixed by what the features are on average, at their size.

    Args:
        prompt_dim: Channels of the prompt.
        prompt_len: Learned prompts.
        prompt_size: Height and width of the learned prompts.
        lin_dim: Channels of the features.
    """

    def __init__(self, prompt_dim: int = 128, prompt_len: int = 5, prompt_size: int = 96, lin_dim: int = 192) -> None:
        super().__init__()
        self.prompt_param = nn.Parameter(torch.rand(1, prompt_len, prompt_dim, prompt_size, prompt_size))
        self.linear_layer = nn.Linear(lin_dim, prompt_len)
        self.conv3x3 = nn.Conv2d(prompt_dim, prompt_dim, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, lin_dim, H, W) to a prompt (B, prompt_dim, H, W)."""
        weights = self.linear_layer(x.mean((2, 3))).softmax(1)
        learned = self.prompt_param[0]
        prompt = (weights @ learned.flatten(1)).unflatten(1, learned.shape[1:])
        prompt = F.interpolate(prompt, x.shape[-2:], mode="bilinear")
        return self.conv3x3(channels_last(prompt))


@BACKBONES.register_module()
class PromptIR(nn.Module):
    """PromptIR: Restormer's U-Net with prompts that join the features on the way up, and a global skip.

    Args:
        inp_channels: Channels of the picture.
        out_channels: Channels of the output.
        dim: Channels of the first level; the published prompts fit 48 only.
        num_blocks: Blocks of the four levels.
        num_refinement_blocks: Blocks after the last level.
        heads: Attention heads of the four levels.
        ffn_expansion_factor: Hidden channels of the feed-forward parts over their channels.
        bias: Whether the convolutions have one.
        LayerNorm_type: "WithBias" or "BiasFree".
        decoder: Whether there are prompts. The published class has False as its default, with which it cannot run:
            the channels of the way up only fit with prompts.

    Raises:
        ConfigError: `decoder` is False, `dim` is not 48, or `num_blocks` or `heads` does not have four entries.
    """

    traits: ClassVar[Traits] = Traits(size_multiple=8)
    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "promptir": Published({}, 35.59, "published code; arXiv 2506.21722, table 4", 158.0)
    }

    def __init__(
        self,
        inp_channels: int = 3,
        out_channels: int = 3,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        num_refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = 2.66,
        bias: bool = False,
        LayerNorm_type: str = "WithBias",
        decoder: bool = True,
    ) -> None:
        super().__init__()
        kind = type(self).__name__
        check_levels(kind, num_blocks=num_blocks, heads=heads)
        if not decoder:
            raise ConfigError(f"{kind}: with decoder=False the published network cannot run; set decoder=True.")
        if dim != 48:
            raise ConfigError(f"{kind}: dim={dim} does not fit the published prompts; set dim=48.")

        def block(level: int, width: int) -> TransformerBlock:
            return TransformerBlock(width, heads[level], ffn_expansion_factor, bias, LayerNorm_type)

        def blocks(level: int, width: int, number: int) -> nn.Sequential:
            return nn.Sequential(*[block(level, width) for _ in range(number)])

        self.patch_embed = OverlapPatchEmbed(inp_channels, dim)
        for level, sizes in enumerate(zip(PROMPT_DIMS, PROMPT_SIZES, PROMPT_FEATURES, strict=True), start=1):
            channels, side, features = sizes
            setattr(self, f"prompt{level}", PromptGenBlock(channels, 5, side, features))
        self._add_unused(dim, bias)
        self.encoder_level1 = blocks(0, dim, num_blocks[0])
        self.down1_2 = Downsample(dim)
        self.encoder_level2 = blocks(1, 2 * dim, num_blocks[1])
        self.down2_3 = Downsample(2 * dim)
        self.encoder_level3 = blocks(2, 4 * dim, num_blocks[2])
        self.down3_4 = Downsample(4 * dim)
        self.latent = blocks(3, 8 * dim, num_blocks[3])
        self.noise_level3 = block(2, 4 * dim + 512)
        self.reduce_noise_level3 = PointwiseConv2d(4 * dim + 512, 4 * dim, bias=bias)
        self.up4_3 = Upsample(4 * dim)
        self.reduce_chan_level3 = PointwiseConv2d(2 * dim + 192, 4 * dim, bias=bias)
        self.decoder_level3 = blocks(2, 4 * dim, num_blocks[2])
        self.noise_level2 = block(2, 2 * dim + 224)
        self.reduce_noise_level2 = PointwiseConv2d(2 * dim + 224, 4 * dim, bias=bias)
        self.up3_2 = Upsample(4 * dim)
        self.reduce_chan_level2 = PointwiseConv2d(4 * dim, 2 * dim, bias=bias)
        self.decoder_level2 = blocks(1, 2 * dim, num_blocks[1])
        self.noise_level1 = block(2, 2 * dim + 64)
        self.reduce_noise_level1 = PointwiseConv2d(2 * dim + 64, 2 * dim, bias=bias)
        self.up2_1 = Upsample(2 * dim)
        self.decoder_level1 = blocks(0, 2 * dim, num_blocks[0])
        self.refinement = blocks(0, 2 * dim, num_refinement_blocks)
        self.output = nn.Conv2d(2 * dim, out_channels, 3, padding=1, bias=bias)

    def _add_unused(self, dim: int, bias: bool) -> None:
        """The six layers of the published checkpoints that no output depends on."""
        self.chnl_reduce1 = PointwiseConv2d(64, 64, bias=bias)
        self.chnl_reduce2 = PointwiseConv2d(128, 128, bias=bias)
        self.chnl_reduce3 = PointwiseConv2d(320, 256, bias=bias)
        self.reduce_noise_channel_1 = PointwiseConv2d(dim + 64, dim, bias=bias)
        self.reduce_noise_channel_2 = PointwiseConv2d(2 * dim + 128, 2 * dim, bias=bias)
        self.reduce_noise_channel_3 = PointwiseConv2d(4 * dim + 256, 4 * dim, bias=bias)

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes.

        Raises:
            KeyError: The keys are another network's.
        """
        if "prompt1.prompt_param" not in state:
            raise KeyError("prompt1.prompt_param")
        return {
            **unet_settings(state),
            "heads": [len(state[f"{level}.0.attn.temperature"]) for level in LEVELS],
            "ffn_expansion_factor": factor(ffn_widths(state, "ffn")),
        }

    def ordered_blocks(self) -> list[str]:
        """Names of the transformer blocks, shallow to deep; those that take up the prompts are among them."""
        names = []
        for level in ("encoder_level1", "encoder_level2", "encoder_level3", "latent"):
            names += self._names(level)
        for prompted, level in (("noise_level3", "decoder_level3"), ("noise_level2", "decoder_level2")):
            names += [prompted, *self._names(level)]
        return [*names, "noise_level1", *self._names("decoder_level1"), *self._names("refinement")]

    def _names(self, level: str) -> list[str]:
        return [f"{level}.{k}" for k in range(len(getattr(self, level)))]

    def forward(self, inp_img: Tensor, noise_emb: Tensor | None = None) -> Tensor:
        """(B, inp_channels, H, W) in [0, 1], H, W >= 1, to (B, out_channels, H, W); the values are not clipped.

        Args:
            inp_img: The pictures.
            noise_emb: Not used by the published network either.
        """
        height, width = inp_img.shape[-2:]
        picture = channels_last(pad_to_multiple(inp_img, self.traits.size_multiple))
        level1 = self.encoder_level1(self.patch_embed(picture))
        level2 = self.encoder_level2(self.down1_2(level1))
        level3 = self.encoder_level3(self.down2_3(level2))
        x = self.latent(self.down3_4(level3))
        x = self.reduce_noise_level3(self.noise_level3(torch.cat([x, self.prompt3(x)], 1)))
        x = self.decoder_level3(self.reduce_chan_level3(torch.cat([self.up4_3(x), level3], 1)))
        x = self.reduce_noise_level2(self.noise_level2(torch.cat([x, self.prompt2(x)], 1)))
        x = self.decoder_level2(self.reduce_chan_level2(torch.cat([self.up3_2(x), level2], 1)))
        x = self.reduce_noise_level1(self.noise_level1(torch.cat([x, self.prompt1(x)], 1)))
        x = self.refinement(self.decoder_level1(torch.cat([self.up2_1(x), level1], 1)))
        return (self.output(x) + picture)[..., :height, :width]


@BACKBONES.register_module()
class RAMPromptIR(PromptIR):
    """PromptIR as RAM trains it by masked image modelling: without the unused layers, on ImageNet-normalised pictures.

    Args:
        inp_channels: As in `PromptIR`.
        out_channels: As in `PromptIR`.
        dim: As in `PromptIR`.
        num_blocks: As in `PromptIR`.
        num_refinement_blocks: As in `PromptIR`.
        heads: As in `PromptIR`.
        ffn_expansion_factor: As in `PromptIR`.
        bias: As in `PromptIR`.
        LayerNorm_type: As in `PromptIR`.
        decoder: As in `PromptIR`.
        finetune_type: Kind of RAM's fine-tuning; it changes nothing in the network.
        img_size: Side of the pictures that can be masked; masked pixels are 0, the mean of ImageNet.
    """

    traits: ClassVar[Traits] = dataclasses.replace(
        PromptIR.traits, size_multiple=16, input_range=IMAGENET_RANGE, output_range=IMAGENET_RANGE
    )
    PUBLISHED: ClassVar[Mapping[str, Published]] = {"ram_promptir": Published({}, 35.38)}

    def __init__(
        self,
        inp_channels: int = 3,
        out_channels: int = 3,
        dim: int = 48,
        num_blocks: Sequence[int] = (4, 6, 6, 8),
        num_refinement_blocks: int = 4,
        heads: Sequence[int] = (1, 2, 4, 8),
        ffn_expansion_factor: float = 2.66,
        bias: bool = False,
        LayerNorm_type: str = "WithBias",
        decoder: bool = True,
        finetune_type: str | None = None,
        img_size: int = 128,
    ) -> None:
        super().__init__(
            inp_channels,
            out_channels,
            dim,
            num_blocks,
            num_refinement_blocks,
            heads,
            ffn_expansion_factor,
            bias,
            LayerNorm_type,
            decoder,
        )

    def _add_unused(self, dim: int, bias: bool) -> None:
        """RAM's checkpoints do not have them."""

    def forward(self, inp_img: Tensor, mask: Tensor | None = None, mask_tokens: Tensor | None = None) -> Tensor:
        """Normalised (B, inp_channels, H, W), H, W >= 1, to (B, out_channels, H, W) in the same range.

        Args:
            inp_img: The pictures.
            mask: (B, H, W), 1 where a pixel is hidden from the network; None hides nothing.
            mask_tokens: (B, inp_channels, H, W), what is seen in place of hidden pixels; 0 by default.
        """
        if mask is not None:
            hidden = mask[:, None]
            inp_img = inp_img * (1 - hidden) + (0 if mask_tokens is None else mask_tokens * hidden)
        return super().forward(inp_img)
