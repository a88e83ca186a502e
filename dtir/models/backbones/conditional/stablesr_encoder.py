"""StableSR's time-aware encoder (Wang et al., "Exploiting Diffusion Prior for Real-World Image Super-Resolution", IJCV
2024), whose features steer the U-Net, with the published state-dict keys."""

from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from dtir.models.backbones.parts.adm_blocks import AttentionBlock, ResBlock, heads_of, refuse_options, time_mlp
from dtir.models.backbones.parts.adm_body import ADMPlan, Place, time_features
from dtir.models.backbones.parts.layers import channels_last
from dtir.models.backbones.parts.reading import State
from dtir.models.backbones.traits import Published

from .stablesr_settings import encoder_settings

# As published for super-resolution by four.
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

        def resblock(channels: int, out: int, level: int, resample: str | None) -> ResBlock:
            return ResBlock(channels, emb, dropout, out, use_scale_shift_norm, resample)

        def attention(channels: int, place: Place) -> AttentionBlock | None:
            if place.way != "middle" and 2**place.level not in attention_resolutions:
                return None
            heads = heads_of("EncoderUNetModelWT", channels, num_heads, num_head_channels)
            return AttentionBlock(channels, heads, use_new_attention_order)

        self.size_multiple = 2 ** (levels - 1)
        self.time_embed = time_mlp(model_channels)
        first = nn.Conv2d(in_channels, model_channels, 3, padding=1)
        widths, counts = [factor * model_channels for factor in channel_mult], [num_res_blocks] * levels
        plan = ADMPlan(first, widths, counts, resblock, attention, resblock_updown, conv_resample)
        self.input_blocks, self.level_ends = plan.down(), plan.level_ends()[:-1]
        self.middle_block = plan.middle()
        self.fea_tran = nn.ModuleList(resblock(width, out_channels, level, None) for level, width in enumerate(widths))

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
        emb, levels = time_features(self.time_embed, timesteps, x), []
        x = channels_last(x)
        for number, block in enumerate(self.input_blocks):
            x = block(x, emb)
            if number in self.level_ends:
                levels.append(x)
        levels.append(self.middle_block(x, emb))
        return [transform(features, emb) for features, transform in zip(levels, self.fea_tran, strict=True)]
