"""StableSR's network on latents (Wang et al., "Exploiting Diffusion Prior for Real-World Image Super-Resolution", IJCV
2024), with the published state-dict keys: Stable Diffusion's U-Net, steered by features of the degraded picture."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.adm_blocks import (
    GROUPS,
    AttentionBlock,
    ResBlock,
    heads_of,
    per_level,
    refuse_options,
    time_mlp,
    zeroed,
)
from dtir.models.backbones.parts.adm_body import ADMBody, ADMPlan, Place
from dtir.models.backbones.parts.layers import channels_last, pad_to_multiple
from dtir.models.backbones.parts.reading import State
from dtir.models.backbones.parts.spade import StructuredResBlock, StructuredSequential
from dtir.models.backbones.parts.spatial_transformer import SpatialTransformer
from dtir.models.backbones.traits import Published, Traits
from dtir.registry import BACKBONES

from .stablesr_settings import unet_settings

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
class UNetModelDualcondV2(ADMBody):
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
        name = "UNetModelDualcondV2"
        refuse_options(name, dims=(dims, 2), use_fp16=(use_fp16, False))
        refuse_options(name, num_classes=(num_classes, None), n_embed=(n_embed, None))
        if use_spatial_transformer and context_dim is None:
            raise ConfigError(f"{name}: transformers need context_dim, such as 1024.")
        levels = len(channel_mult)
        counts = per_level(name, "num_res_blocks", num_res_blocks, levels)
        attending = per_level(name, "num_attention_blocks", num_attention_blocks, levels)
        without_self = per_level(name, "disable_self_attentions", disable_self_attentions or False, levels)
        emb = 4 * model_channels

        def resblock(channels: int, out: int, level: int, resample: str | None) -> ResBlock:
            return StructuredResBlock(level, semb_channels, channels, emb, dropout, out, use_scale_shift_norm, resample)

        def attends(place: Place) -> bool:
            most = attending[place.level]
            return 2**place.level in attention_resolutions and (most is None or place.block < most)

        def attention(channels: int, place: Place) -> nn.Module | None:
            middle = place.way == "middle"
            if not middle and not attends(place):
                return None
            heads = heads_of(name, channels, num_heads, num_head_channels)
            if use_spatial_transformer:
                no_self = disable_middle_self_attn if middle else without_self[place.level]
                depth, linear = transformer_depth, use_linear_in_transformer
                return SpatialTransformer(channels, heads, channels // heads, depth, context_dim, no_self, linear)
            if place.way == "up" and legacy and num_head_channels == -1 and num_heads_upsample != -1:
                heads = num_heads_upsample
            return AttentionBlock(channels, heads, use_new_attention_order)

        self.in_channels, self.levels = in_channels, levels
        self.context_dim = context_dim if isinstance(context_dim, int | None) else context_dim[0]
        self.traits = dataclasses.replace(type(self).traits, size_multiple=2 ** (levels - 1))
        self.time_embed = time_mlp(model_channels)
        first = nn.Conv2d(in_channels, model_channels, 3, padding=1)
        widths = [factor * model_channels for factor in channel_mult]
        plan = ADMPlan(first, widths, counts, resblock, attention, resblock_updown, conv_resample, StructuredSequential)
        self.input_blocks, self.middle_block, self.output_blocks = plan.down(), plan.middle(), plan.up()
        last = zeroed(nn.Conv2d(widths[0], out_channels, 3, padding=1))
        self.out = nn.Sequential(nn.GroupNorm(GROUPS, widths[0]), nn.SiLU(), last)

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes; heads are taken as published.

        Raises:
            KeyError: The keys are another network's.
        """
        return unet_settings(state)

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
        return self.run(x, timesteps, context, struct_cond)[..., :height, :width]
