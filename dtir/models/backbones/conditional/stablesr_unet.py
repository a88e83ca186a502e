"""StableSR's networks on latents (Wang et al., "Exploiting Diffusion Prior for Real-World Image Super-Resolution", IJCV
2024), with the published state-dict keys: Stable Diffusion's U-Net, and the encoder whose features steer it."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.adm_blocks import (
    GROUPS,
    AttentionBlock,
    Resample,
    ResBlock,
    TimestepSequential,
    heads_of,
    refuse_options,
    time_mlp,
    timestep_embedding,
    zeroed,
)
from dtir.models.backbones.parts.layers import channels_last, pad_to_multiple
from dtir.models.backbones.parts.reading import State
from dtir.models.backbones.parts.spatial_transformer import SpatialTransformer
from dtir.models.backbones.parts.time_unet import time_tensor
from dtir.models.backbones.traits import Published, Traits
from dtir.registry import BACKBONES

from .stablesr_settings import encoder_settings, unet_settings

SPADE_WIDTH = 128
# As published for super-resolution by four, on Stable Diffusion 2.1.
UNET = {
    "image_size": 32,
    "in_channels": 4,
    "out_channels": 4,
    "model_channels": 320,
    "attention_resolutions": [4, 2, 1],
    "num_res_blocks": 2,
    "channel_mult": [1, 2, 4, 4],
    "num_head_channels": 64,
    "use_spatial_transformer": True,
    "use_linear_in_transformer": True,
    "transformer_depth": 1,
    "context_dim": 1024,
    "use_checkpoint": False,
    "legacy": False,
    "semb_channels": 256,
}
ENCODER = {
    "image_size": 96,
    "in_channels": 4,
    "model_channels": 256,
    "out_channels": 256,
    "num_res_blocks": 2,
    "attention_resolutions": [4, 2, 1],
    "dropout": 0,
    "channel_mult": [1, 1, 2, 2],
    "conv_resample": True,
    "dims": 2,
    "use_checkpoint": False,
    "use_fp16": False,
    "num_heads": 4,
    "num_head_channels": -1,
    "num_heads_upsample": -1,
    "use_scale_shift_norm": False,
    "resblock_updown": False,
    "use_new_attention_order": False,
}


class SPADE(nn.Module):
    """Normalised features, scaled and shifted at every pixel by other features (Park et al., CVPR 2019).

    Args:
        norm_nc: Channels of the features.
        label_nc: Channels of the others.
    """

    def __init__(self, norm_nc: int, label_nc: int) -> None:
        super().__init__()
        self.param_free_norm = nn.GroupNorm(GROUPS, norm_nc)
        self.mlp_shared = nn.Sequential(nn.Conv2d(label_nc, SPADE_WIDTH, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(SPADE_WIDTH, norm_nc, 3, padding=1)
        self.mlp_beta = nn.Conv2d(SPADE_WIDTH, norm_nc, 3, padding=1)

    def forward(self, x: Tensor, structure: Tensor) -> Tensor:
        """(B, norm_nc, H, W) and (B, label_nc, H, W) to (B, norm_nc, H, W)."""
        shared = self.mlp_shared(structure)
        return torch.addcmul(self.mlp_beta(shared), self.param_free_norm(x), self.mlp_gamma(shared) + 1)


class StructuredResBlock(ResBlock):
    """A residual block whose branch ends with `SPADE`.

    Args:
        level: Whose features steer it, 0 being the finest.
        semb_channels: Their channels.
        block: Arguments of `ResBlock`.
    """

    def __init__(self, level: int, semb_channels: int, *block: object) -> None:
        super().__init__(*block)
        self.level = level
        self.spade = SPADE(self.out_layers[-1].out_channels, semb_channels)

    @override
    def forward(self, x: Tensor, emb: Tensor, structure: Sequence[Tensor] | None = None) -> Tensor:
        """As `ResBlock`; without structure features the block is Stable Diffusion's own."""
        y = self.branch(x, emb)
        if structure is not None:
            y = self.spade(y, structure[self.level])
        return self.skip_connection(self.resample(x)) + y


class StructuredSequential(TimestepSequential):
    """Layers one after the other: residual blocks get time and structure, transformers get the context."""

    @override
    def forward(self, x: Tensor, emb: Tensor, context: Tensor, structure: Sequence[Tensor] | None = None) -> Tensor:
        """(B, C, H, W), time features (B, D), context (B, M, E) and features of each level to (B, C', H', W')."""
        for layer in self:
            if isinstance(layer, StructuredResBlock):
                x = layer(x, emb, structure)
            elif isinstance(layer, SpatialTransformer):
                x = layer(x, context)
            else:
                x = layer(x)
        return x


def _of_levels(structure: Mapping[str, Tensor], height: int, width: int, levels: int) -> list[Tensor]:
    """The features of each level, from those by width, for states of a size."""
    found = []
    for level in range(levels):
        size = (height >> level, width >> level)
        features = structure.get(str(size[1]))
        if features is None or tuple(features.shape[-2:]) != size:
            shapes = {key: tuple(value.shape[-2:]) for key, value in structure.items()}
            raise ValueError(
                f"UNetModelDualcondV2: no structure features of height and width {size} among {shapes}; make them from "
                "latents of the states' size, a multiple of the network's size_multiple."
            )
        found.append(features)
    return found


@BACKBONES.register_module()
class UNetModelDualcondV2(nn.Module):
    """Stable Diffusion's U-Net whose residual blocks are steered by structure features.

    Args:
        image_size: Without effect, as in the published code.
        in_channels: Channels of the latent states.
        model_channels: Channels of the first level.
        out_channels: Channels of the output.
        num_res_blocks: Residual blocks of a level on the way down, one number, or one for each level.
        attention_resolutions: By how many times the levels that attend are smaller than the states.
        dropout: Probability of a zero in training.
        channel_mult: Channels of each level over `model_channels`.
        conv_resample: Whether convolutions change height and width.
        dims: 2.
        num_classes: None; classes are not offered.
        use_checkpoint: Without effect.
        use_fp16: False; use autocast.
        num_heads: Heads, if `num_head_channels` is -1.
        num_head_channels: Channels of a head.
        num_heads_upsample: Heads on the way up, of a network without transformers whose heads are given by number.
        use_scale_shift_norm: Whether the time also scales.
        resblock_updown: Whether residual blocks change height and width.
        use_new_attention_order: See `AttentionBlock`.
        use_spatial_transformer: Whether levels attend by transformers, which read a context.
        transformer_depth: Blocks of a transformer.
        context_dim: Channels of the context.
        n_embed: None; predicting entries of a codebook is not offered.
        legacy: How heads are counted where `num_heads_upsample` says something else.
        disable_self_attentions: For each level, whether its transformers attend to the context alone.
        num_attention_blocks: For each level, after how many of its residual blocks it attends at most.
        disable_middle_self_attn: Whether the middle attends to the context alone.
        use_linear_in_transformer: See `SpatialTransformer`.
        semb_channels: Channels of the structure features.

    Raises:
        ConfigError: An option is not one of those named, or does not go with another.
    """

    traits: ClassVar[Traits] = Traits(size_multiple=8, licence="S-Lab License 1.0 (non-commercial)")
    PUBLISHED: ClassVar[Mapping[str, Published]] = {"stablesr_unet": Published(UNET, channels=4)}

    def __init__(
        self,
        image_size: int = 32,
        in_channels: int = 4,
        model_channels: int = 320,
        out_channels: int = 4,
        num_res_blocks: int | Sequence[int] = 2,
        attention_resolutions: Collection[int] = (4, 2, 1),
        dropout: float = 0.0,
        channel_mult: Sequence[int] = (1, 2, 4, 8),
        conv_resample: bool = True,
        dims: int = 2,
        num_classes: int | None = None,
        use_checkpoint: bool = False,
        use_fp16: bool = False,
        num_heads: int = -1,
        num_head_channels: int = -1,
        num_heads_upsample: int = -1,
        use_scale_shift_norm: bool = False,
        resblock_updown: bool = False,
        use_new_attention_order: bool = False,
        use_spatial_transformer: bool = False,
        transformer_depth: int = 1,
        context_dim: int | Sequence[int] | None = None,
        n_embed: int | None = None,
        legacy: bool = True,
        disable_self_attentions: Sequence[bool] | None = None,
        num_attention_blocks: Sequence[int] | None = None,
        disable_middle_self_attn: bool = False,
        use_linear_in_transformer: bool = False,
        semb_channels: int = 256,
    ) -> None:
        super().__init__()
        refuse_options("UNetModelDualcondV2", dims=(dims, 2), use_fp16=(use_fp16, False))
        refuse_options("UNetModelDualcondV2", num_classes=(num_classes, None), n_embed=(n_embed, None))
        if use_spatial_transformer and context_dim is None:
            raise ConfigError("UNetModelDualcondV2: transformers need context_dim, such as 1024.")
        levels = len(channel_mult)
        counts = _per_level("num_res_blocks", num_res_blocks, levels)
        attending = _per_level("num_attention_blocks", num_attention_blocks, levels)
        without_self = _per_level("disable_self_attentions", disable_self_attentions or False, levels)
        emb = 4 * model_channels

        def resblock(channels: int, out: int, level: int, resample: str | None = None) -> ResBlock:
            return StructuredResBlock(level, semb_channels, channels, emb, dropout, out, use_scale_shift_norm, resample)

        def attention(channels: int, disable_self_attn: bool, up: bool = False) -> nn.Module:
            heads = heads_of("UNetModelDualcondV2", channels, num_heads, num_head_channels)
            if use_spatial_transformer:
                per_head = channels // heads
                depth, linear = transformer_depth, use_linear_in_transformer
                return SpatialTransformer(channels, heads, per_head, depth, context_dim, disable_self_attn, linear)
            if up and legacy and num_head_channels == -1 and num_heads_upsample != -1:
                heads = num_heads_upsample
            return AttentionBlock(channels, heads, use_new_attention_order)

        def changed(channels: int, to: str, level: int) -> nn.Module:
            if resblock_updown:
                return resblock(channels, channels, level, to)
            return Resample(channels, channels, to == "up", conv_resample)

        def attends(level: int, k: int) -> bool:
            return 2**level in attention_resolutions and (attending[level] is None or k < attending[level])

        self.in_channels, self.model_channels, self.levels = in_channels, model_channels, levels
        self.context_dim = context_dim if isinstance(context_dim, int | None) else context_dim[0]
        self.traits = dataclasses.replace(type(self).traits, size_multiple=2 ** (levels - 1))
        self.time_embed = time_mlp(model_channels)
        first = nn.Conv2d(in_channels, model_channels, 3, padding=1)
        self.input_blocks = nn.ModuleList([StructuredSequential(first)])
        channels, skips = model_channels, [model_channels]
        for level, factor in enumerate(channel_mult):
            for k in range(counts[level]):
                layers = [resblock(channels, factor * model_channels, level)]
                channels = factor * model_channels
                if attends(level, k):
                    layers.append(attention(channels, without_self[level]))
                self.input_blocks.append(StructuredSequential(*layers))
                skips.append(channels)
            if level < levels - 1:
                self.input_blocks.append(StructuredSequential(changed(channels, "down", level + 1)))
                skips.append(channels)
        self.middle_block = StructuredSequential(
            resblock(channels, channels, levels - 1),
            attention(channels, disable_middle_self_attn),
            resblock(channels, channels, levels - 1),
        )
        self.output_blocks = nn.ModuleList()
        for level in reversed(range(levels)):
            for k in range(counts[level] + 1):
                layers = [resblock(channels + skips.pop(), channel_mult[level] * model_channels, level)]
                channels = channel_mult[level] * model_channels
                if attends(level, k):
                    layers.append(attention(channels, without_self[level], up=True))
                if level > 0 and k == counts[level]:
                    layers.append(changed(channels, "up", level - 1))
                self.output_blocks.append(StructuredSequential(*layers))
        last = zeroed(nn.Conv2d(channels, out_channels, 3, padding=1))
        self.out = nn.Sequential(nn.GroupNorm(GROUPS, channels), nn.SiLU(), last)

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes; heads are taken as published.

        Raises:
            KeyError: The keys are another network's.
        """
        return unet_settings(state)

    def ordered_blocks(self) -> list[str]:
        """The residual blocks, shallow to deep."""
        return [
            name
            for part in ("input_blocks", "middle_block", "output_blocks")
            for name, module in self.named_modules()
            if name.startswith(part) and isinstance(module, ResBlock)
        ]

    def forward(
        self,
        x: Tensor,
        timesteps: Tensor | float = 0,
        context: Tensor | None = None,
        struct_cond: Mapping[str, Tensor] | Sequence[Tensor] | None = None,
    ) -> Tensor:
        """The noise, or velocity, in latent states.

        Args:
            x: States (B, in_channels, H, W), H, W >= 1; with structure features, multiples of `size_multiple`.
            timesteps: Time steps, one or (B,).
            context: Embedded text (B, M, context_dim); by default one token of zeros.
            struct_cond: Structure features (B, semb_channels, H', W') by their width as text, as `EncoderUNetModelWT`
                gives them, or of each level, finest first; by default none, which leaves Stable Diffusion's U-Net.

        Returns:
            (B, out_channels, H, W).

        Raises:
            ValueError: There are no structure features of a level's size.
        """
        height, width = x.shape[-2:]
        x = channels_last(pad_to_multiple(x, self.traits.size_multiple))
        if context is None and self.context_dim is not None:
            context = x.new_zeros(x.shape[0], 1, self.context_dim)
        if isinstance(struct_cond, Mapping):
            struct_cond = _of_levels(struct_cond, *x.shape[-2:], self.levels)
        emb = timestep_embedding(time_tensor(timesteps, x), self.model_channels)
        emb = self.time_embed(emb.to(self.time_embed[0].weight.dtype))
        skips = []
        for block in self.input_blocks:
            x = block(x, emb, context, struct_cond)
            skips.append(x)
        x = self.middle_block(x, emb, context, struct_cond)
        for block in self.output_blocks:
            x = block(torch.cat([x, skips.pop()], 1), emb, context, struct_cond)
        return self.out(x)[..., :height, :width]


class EncoderUNetModelWT(nn.Module):
    """StableSR's time-aware encoder: features of a degraded picture's latent, one for each level of the U-Net.

    Args:
        image_size: Without effect, as in the published code.
        in_channels: Channels of the latents.
        model_channels: Channels of the first level.
        out_channels: Channels of the features.
        num_res_blocks: Residual blocks of a level.
        attention_resolutions: By how many times the levels that attend are smaller than the latents.
        dropout: Probability of a zero in training.
        channel_mult: Channels of each level over `model_channels`.
        conv_resample: Whether convolutions change height and width.
        dims: 2.
        use_checkpoint: Without effect.
        use_fp16: False; use autocast.
        num_heads: Heads, if `num_head_channels` is -1.
        num_head_channels: Channels of a head.
        num_heads_upsample: Without effect, as in the published code.
        use_scale_shift_norm: Whether the time also scales.
        resblock_updown: Whether residual blocks change height and width.
        use_new_attention_order: See `AttentionBlock`.

    Raises:
        ConfigError: An option is not one of those named.
    """

    PUBLISHED: ClassVar[Mapping[str, Published]] = {"stablesr_structure_encoder": Published(ENCODER, channels=4)}

    def __init__(
        self,
        image_size: int = 96,
        in_channels: int = 4,
        model_channels: int = 256,
        out_channels: int = 256,
        num_res_blocks: int = 2,
        attention_resolutions: Collection[int] = (4, 2, 1),
        dropout: float = 0.0,
        channel_mult: Sequence[int] = (1, 2, 4, 8),
        conv_resample: bool = True,
        dims: int = 2,
        use_checkpoint: bool = False,
        use_fp16: bool = False,
        num_heads: int = 1,
        num_head_channels: int = -1,
        num_heads_upsample: int = -1,
        use_scale_shift_norm: bool = False,
        resblock_updown: bool = False,
        use_new_attention_order: bool = False,
    ) -> None:
        super().__init__()
        refuse_options("EncoderUNetModelWT", dims=(dims, 2), use_fp16=(use_fp16, False))
        emb, levels = 4 * model_channels, len(channel_mult)

        def resblock(channels: int, out: int, resample: str | None = None) -> ResBlock:
            return ResBlock(channels, emb, dropout, out, use_scale_shift_norm, resample)

        def attention(channels: int) -> AttentionBlock:
            heads = heads_of("EncoderUNetModelWT", channels, num_heads, num_head_channels)
            return AttentionBlock(channels, heads, use_new_attention_order)

        self.model_channels, self.size_multiple = model_channels, 2 ** (levels - 1)
        self.time_embed = time_mlp(model_channels)
        self.input_blocks = nn.ModuleList([TimestepSequential(nn.Conv2d(in_channels, model_channels, 3, padding=1))])
        channels, ends = model_channels, []
        for level, factor in enumerate(channel_mult):
            for _ in range(num_res_blocks):
                layers: list[nn.Module] = [resblock(channels, factor * model_channels)]
                channels = factor * model_channels
                if 2**level in attention_resolutions:
                    layers.append(attention(channels))
                self.input_blocks.append(TimestepSequential(*layers))
            ends.append((len(self.input_blocks) - 1, channels))
            if level < levels - 1:
                down = resblock(channels, channels, "down") if resblock_updown else None
                down = down or Resample(channels, channels, up=False, use_conv=conv_resample)
                self.input_blocks.append(TimestepSequential(down))
        self.level_ends = [block for block, _ in ends[:-1]]
        self.middle_block = TimestepSequential(
            resblock(channels, channels), attention(channels), resblock(channels, channels)
        )
        self.fea_tran = nn.ModuleList(resblock(channels, out_channels) for _, channels in ends)

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes, but for the heads.

        Raises:
            KeyError: The keys are another network's.
        """
        return encoder_settings(state)

    def forward(self, x: Tensor, timesteps: Tensor | float) -> dict[str, Tensor]:
        """Features by their width as text.

        Args:
            x: Latents of degraded pictures (B, in_channels, H, W), H and W multiples of 2^(levels - 1).
            timesteps: Time steps, one or (B,), of the states that are to be steered.

        Returns:
            For every level, (B, out_channels, H', W') under `str(W')`.

        Raises:
            ValueError: Height or width is no such multiple.
        """
        if any(side % self.size_multiple for side in x.shape[-2:]):
            raise ValueError(
                f"EncoderUNetModelWT: latents of {tuple(x.shape[-2:])}; expected multiples of {self.size_multiple}."
            )
        return {str(features.shape[-1]): features for features in self.of_levels(x, timesteps)}

    def of_levels(self, x: Tensor, timesteps: Tensor | float) -> list[Tensor]:
        """As `forward`, but the features of each level, finest first."""
        emb = timestep_embedding(time_tensor(timesteps, x), self.model_channels)
        emb = self.time_embed(emb.to(self.time_embed[0].weight.dtype))
        x, levels = channels_last(x), []
        for number, block in enumerate(self.input_blocks):
            x = block(x, emb)
            if number in self.level_ends:
                levels.append(x)
        levels.append(self.middle_block(x, emb))
        return [transform(features, emb) for features, transform in zip(levels, self.fea_tran, strict=True)]


def _per_level(name: str, value: object, levels: int) -> list:
    values = list(value) if isinstance(value, Sequence) else [value] * levels
    if len(values) != levels:
        raise ConfigError(f"UNetModelDualcondV2: {name}={values} must have one entry for each of {levels} levels.")
    return values
