"""The U-Net of "Diffusion Models Beat GANs on Image Synthesis" (Dhariwal and Nichol, NeurIPS 2021), "ADM", with the
published state-dict keys of guided-diffusion: an unconditional denoiser."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from dtir.models.backbones.parts.adm_blocks import (
    GROUPS,
    AttentionBlock,
    ResBlock,
    heads_of,
    refuse_options,
    time_mlp,
    zeroed,
)
from dtir.models.backbones.parts.adm_body import ADMBody, ADMPlan, Place
from dtir.models.backbones.parts.layers import channels_last, pad_to_multiple
from dtir.models.backbones.parts.reading import State
from dtir.models.backbones.traits import CENTRED_RANGE, Published, Traits
from dtir.registry import BACKBONES

from .adm_settings import settings_from

RGB = 3
# Of 256x256_diffusion_uncond.pt, and of the LSUN models of the same size.
IMAGENET_256 = {
    "image_size": 256,
    "model_channels": 256,
    "out_channels": 6,
    "num_res_blocks": 2,
    "attention_resolutions": [8, 16, 32],
    "channel_mult": [1, 1, 2, 2, 4, 4],
    "num_head_channels": 64,
    "use_scale_shift_norm": True,
    "resblock_updown": True,
}
# Of ffhq_10m.pt, the model of 256 x 256 faces that ILVR, DPS, DiffPIR and DAPS restore with.
FFHQ_256 = {**IMAGENET_256, "model_channels": 128, "num_res_blocks": 1, "attention_resolutions": [16]}


@BACKBONES.register_module()
class UNetModel(ADMBody):
    """ADM's U-Net: the noise in a state of a process to noise, and, where that is learned, the step's variance.

    Args:
        image_size: Side of the pictures in training; without effect.
        in_channels: Channels of a state.
        model_channels: Channels of the first level over `channel_mult[0]`, a multiple of 32.
        out_channels: Channels of the output, twice `in_channels` where the variance is learned.
        num_res_blocks: Residual blocks of a level.
        attention_resolutions: By how many times the levels that attend are smaller than the state. The published
            command lines name their sides in place of that: 16 of 256 is 16 here, and 32, 16, 8 are 8, 16, 32.
        dropout: Probability of a zero in training.
        channel_mult: Channels of each level over `model_channels`.
        conv_resample: Whether convolutions change height and width.
        dims: 2.
        num_classes: None; networks that are told a class are not offered.
        use_checkpoint: Without effect.
        use_fp16: False; use autocast.
        num_heads: Heads, if `num_head_channels` is -1.
        num_head_channels: Channels of a head.
        num_heads_upsample: Heads on the way up, -1 for those on the way down.
        use_scale_shift_norm: Whether the time scales features besides shifting them.
        resblock_updown: Whether residual blocks change height and width.
        use_new_attention_order: See `AttentionBlock`.

    Raises:
        ConfigError: An option is not one of those named, or does not go with another.
    """

    traits: ClassVar[Traits] = Traits(
        input_range=CENTRED_RANGE, size_multiple=32, residual=True, pictures=1, licence="MIT"
    )
    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "adm_imagenet256_uncond": Published(IMAGENET_256, 552.81),
        "adm_ffhq256": Published(FFHQ_256, 93.56),
    }

    def __init__(
        self,
        image_size: int = 256,
        in_channels: int = RGB,
        model_channels: int = 128,
        out_channels: int = RGB,
        num_res_blocks: int = 2,
        attention_resolutions: Collection[int] = (16, 32),
        dropout: float = 0.0,
        channel_mult: Sequence[float] = (1, 1, 2, 2, 4, 4),
        conv_resample: bool = True,
        dims: int = 2,
        num_classes: int | None = None,
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
        refuse_options("UNetModel", dims=(dims, 2), use_fp16=(use_fp16, False), num_classes=(num_classes, None))
        if out_channels != in_channels:
            refuse_options("UNetModel", out_channels=(out_channels, 2 * in_channels))
        emb, levels = 4 * model_channels, len(channel_mult)
        widths = [int(model_channels * factor) for factor in channel_mult]

        def resblock(channels: int, out: int, level: int, resample: str | None) -> ResBlock:
            return ResBlock(channels, emb, dropout, out, use_scale_shift_norm, resample)

        def attention(channels: int, place: Place) -> AttentionBlock | None:
            if place.way != "middle" and 2**place.level not in attention_resolutions:
                return None
            heads = num_heads_upsample if place.way == "up" and num_heads_upsample != -1 else num_heads
            heads = heads_of("UNetModel", channels, heads, num_head_channels)
            return AttentionBlock(channels, heads, use_new_attention_order)

        self.in_channels = in_channels
        self.traits = dataclasses.replace(type(self).traits, size_multiple=2 ** (levels - 1))
        self.time_embed = time_mlp(model_channels)
        first = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        counts = [num_res_blocks] * levels
        plan = ADMPlan(first, widths, counts, resblock, attention, resblock_updown, conv_resample)
        self.input_blocks, self.middle_block, self.output_blocks = plan.down(), plan.middle(), plan.up()
        last = zeroed(nn.Conv2d(widths[0], out_channels, 3, padding=1))
        self.out = nn.Sequential(nn.GroupNorm(GROUPS, widths[0]), nn.SiLU(), last)

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes.

        No shape tells the heads, nor the order of queries, keys and values: heads have 64 channels, or the most that go
        into all levels, and the order is the older one, as in all published models but those of 64 x 64 pixels.

        Raises:
            KeyError: The keys are another network's.
        """
        return settings_from(state)

    def forward(self, x: Tensor, timesteps: Tensor | float = 0) -> Tensor | tuple[Tensor, Tensor]:
        """The noise of unit variance in states.

        Args:
            x: States (B, in_channels, H, W), centred, H, W >= 1.
            timesteps: Indices of time steps from 0 on, one or (B,); 0 is the first step with noise.

        Returns:
            (B, in_channels, H, W). Where the variance is learned, the two halves of the published output: the noise,
            and the place of each log variance between its bounds, -1 to 1, of the same shape.
        """
        height, width = x.shape[-2:]
        x = channels_last(pad_to_multiple(x, self.traits.size_multiple))
        out = self.run(x, timesteps)[..., :height, :width]
        return out if out.shape[1] == self.in_channels else tuple(out.chunk(2, 1))
