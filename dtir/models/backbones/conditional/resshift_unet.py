"""ResShift's U-Net with Swin transformer layers (Yue et al., "ResShift: Efficient Diffusion Model for Image
Super-resolution by Residual Shifting", NeurIPS 2023), with the published state-dict keys."""

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.adm_blocks import (
    GROUPS,
    Resample,
    ResBlock,
    per_level,
    refuse_options,
    time_mlp,
)
from dtir.models.backbones.parts.adm_body import ADMBody, ADMPlan, Place
from dtir.models.backbones.parts.layers import channels_last, pad_to_multiple
from dtir.models.backbones.parts.reading import State
from dtir.models.backbones.parts.resshift_swin import BasicLayer
from dtir.models.backbones.traits import CENTRED_RANGE, Published, Traits
from dtir.registry import BACKBONES

from .resshift_settings import settings_from

REAL_SR = {
    "channel_mult": [1, 2, 2, 4],
    "num_head_channels": 32,
    "use_scale_shift_norm": True,
    "swin_embed_dim": 192,
    "mlp_ratio": 4,
    "lq_size": 64,
}

# In a mask; what is missing is 1.
KNOWN = -1.0


@BACKBONES.register_module()
class UNetModelSwin(ADMBody):
    """ResShift's U-Net: restores a shifted, noised picture, given the degraded one and the time step.

    Args:
        image_size: Side of the states in training.
        in_channels: Channels of a state.
        model_channels: Channels of the first features over `channel_mult[0]`, a multiple of 32.
        out_channels: Channels of the output.
        num_res_blocks: Residual blocks of each level, or of all.
        attention_resolutions: Sides of the features, in training, at which there is a Swin layer.
        dropout: Probability of a zero in training.
        channel_mult: Channels of each level over `model_channels`.
        conv_resample: Whether convolutions change height and width.
        dims: 2.
        use_fp16: False; a network in half precision is `network.half()`.
        num_heads: Heads of the attention, where `num_head_channels` is -1.
        num_head_channels: Channels of a head.
        use_scale_shift_norm: Whether the time scales features besides shifting them.
        resblock_updown: Whether residual blocks change height and width.
        swin_depth: Blocks of a Swin layer.
        swin_embed_dim: Channels of the Swin layers.
        window_size: Side of the windows.
        mlp_ratio: Hidden channels of the feed-forward parts over `swin_embed_dim`.
        patch_norm: Whether the projections of the Swin layers are normalised.
        cond_lq: True; without the degraded picture the published network does not run.
        cond_mask: Whether there is a mask besides the degraded picture, -1 where pixels are known and 1 where not.
        lq_size: Side of the degraded pictures in training, `image_size` or that times a power of 2.

    Raises:
        ConfigError: An option is not one of those named.
    """

    traits: ClassVar[Traits] = Traits(
        input_range=CENTRED_RANGE,
        output_range=CENTRED_RANGE,
        size_multiple=64,
        licence="S-Lab License 1.0 (non-commercial)",
    )
    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "resshift": Published(REAL_SR, 118.59, "ResShift"),
        "resshift_face": Published({**REAL_SR, "in_channels": 8, "out_channels": 8, "lq_size": 512}, channels=8),
        "resshift_inpainting": Published({**REAL_SR, "cond_mask": True, "lq_size": 256}),
    }

    def __init__(
        self,
        image_size: int = 64,
        in_channels: int = 3,
        model_channels: int = 160,
        out_channels: int = 3,
        num_res_blocks: int | Sequence[int] = 2,
        attention_resolutions: Collection[int] = (64, 32, 16, 8),
        dropout: float = 0.0,
        channel_mult: Sequence[int] = (1, 2, 4, 8),
        conv_resample: bool = True,
        dims: int = 2,
        use_fp16: bool = False,
        num_heads: int = 1,
        num_head_channels: int = -1,
        use_scale_shift_norm: bool = False,
        resblock_updown: bool = False,
        swin_depth: int = 2,
        swin_embed_dim: int = 96,
        window_size: int = 8,
        mlp_ratio: float = 2.0,
        patch_norm: bool = False,
        cond_lq: bool = True,
        cond_mask: bool = False,
        lq_size: int = 256,
    ) -> None:
        super().__init__()
        refuse_options("UNetModelSwin", dims=(dims, 2), use_fp16=(use_fp16, False), cond_lq=(cond_lq, True))
        halvings = math.log2(lq_size / image_size)
        if halvings < 0 or halvings % 1:
            raise ConfigError(
                f"UNetModelSwin: lq_size={lq_size} must be image_size={image_size}, or that times a power of 2."
            )
        levels = len(channel_mult)
        counts = per_level("UNetModelSwin", "num_res_blocks", num_res_blocks, levels)
        emb = 4 * model_channels
        widths = [int(model_channels * factor) for factor in channel_mult]
        heads = num_heads if num_head_channels == -1 else swin_embed_dim // num_head_channels
        sides = [image_size // 2**level for level in range(levels)]
        # On the way up the published code doubles the lowest side, which is not how it came down from an odd one.
        doubled = [sides[-1] * 2 ** (levels - 1 - level) for level in range(levels)]

        def resblock(channels: int, out: int, level: int, resample: str | None) -> ResBlock:
            return ResBlock(channels, emb, dropout, out, use_scale_shift_norm, resample)

        def swin(width: int, place: Place) -> BasicLayer | None:
            side = (doubled if place.way == "up" else sides)[place.level]
            if place.way != "middle" and (side not in attention_resolutions or place.block > 0):
                return None
            return BasicLayer(
                width, swin_embed_dim, heads, window_size, swin_depth, side, mlp_ratio, dropout, patch_norm
            )

        self.in_channels = in_channels
        self.mask_channels, self.cond_ratio = int(cond_mask), 2 ** int(halvings)
        # The lowest level's features pass a Swin layer even where its side is not named.
        windows = [
            (level, side)
            for at in (sides, doubled)
            for level, side in enumerate(at)
            if side in attention_resolutions or level == levels - 1
        ]
        multiple = math.lcm(*(min(window_size, side) * 2**level for level, side in windows))
        self.traits = dataclasses.replace(type(self).traits, size_multiple=multiple)
        self.time_embed = time_mlp(model_channels)
        self.feature_extractor, extra = _extractor(3 + self.mask_channels, int(halvings))
        first = nn.Conv2d(in_channels + extra, widths[0], 3, padding=1)
        plan = ADMPlan(first, widths, counts, resblock, swin, resblock_updown, conv_resample)
        self.input_blocks, self.middle_block, self.output_blocks = plan.down(), plan.middle(), plan.up()
        last = nn.Conv2d(widths[0], out_channels, 3, padding=1)
        self.out = nn.Sequential(nn.GroupNorm(GROUPS, widths[0]), nn.SiLU(), last)

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes.

        Raises:
            KeyError: The keys are another network's.
        """
        return settings_from(state)

    def conditional(self, x: Tensor, condition: Tensor, time: Tensor) -> Tensor:
        """What a restorer calls the network by.

        Args:
            x: States (B, in_channels, H, W).
            condition: Degraded pictures (B, 3, h, w), with `cond_mask` and a mask (B, 4, h, w), of the states' size or
                any other; repeated, or interpolated, to the size that the network expects beside such states.
            time: Time steps (B,).

        Returns:
            (B, out_channels, H, W).
        """
        size = tuple(self.cond_ratio * side for side in x.shape[-2:])
        if condition.shape[-2:] == x.shape[-2:] and self.cond_ratio > 1:
            condition = F.interpolate(condition, size, mode="nearest")
        elif condition.shape[-2:] != size:
            condition = F.interpolate(condition, size, mode="bicubic", antialias=True)
        lq, mask = condition[:, :3], condition[:, 3:]
        return self(x, time, lq, mask if mask.shape[1] else None)

    def forward(
        self, x: Tensor, timesteps: Tensor | float = 0, lq: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """The restored picture.

        Args:
            x: States (B, in_channels, H, W), H, W >= 1.
            timesteps: Time steps, one or (B,).
            lq: Degraded pictures (B, 3, r H, r W), r being `lq_size / image_size`; by default the states, if these
                are pictures, enlarged by r.
            mask: With `cond_mask`, 1 where pixels are missing and -1 where they are known, (B, 1, r H, r W); by
                default none is missing.

        Returns:
            (B, out_channels, H, W).

        Raises:
            ValueError: No degraded picture is given and the states are none, a mask is given to a network without
                `cond_mask`, or the degraded picture has not the size that goes with the states.
        """
        height, width = x.shape[-2:]
        condition = self._condition(x, lq, mask)
        # Padded together with the states, so that both stay aligned.
        multiple = self.traits.size_multiple
        condition = self.feature_extractor(channels_last(pad_to_multiple(condition, multiple * self.cond_ratio)))
        x = torch.cat([channels_last(pad_to_multiple(x, multiple)), condition], 1)
        return self.run(x, timesteps)[..., :height, :width]

    def _condition(self, x: Tensor, lq: Tensor | None, mask: Tensor | None) -> Tensor:
        if lq is None and self.in_channels != 3:
            raise ValueError(f"UNetModelSwin with in_channels={self.in_channels} needs the degraded picture `lq`.")
        if lq is None:
            lq = F.interpolate(x, scale_factor=self.cond_ratio, mode="nearest") if self.cond_ratio > 1 else x
        expected = tuple(self.cond_ratio * side for side in x.shape[-2:])
        if tuple(lq.shape[-2:]) != expected:
            raise ValueError(
                f"UNetModelSwin: degraded pictures of {tuple(lq.shape[-2:])} do not go with states of "
                f"{tuple(x.shape[-2:])}; expected {expected} (lq_size / image_size = {self.cond_ratio})."
            )
        if not self.mask_channels:
            if mask is not None:
                raise ValueError("UNetModelSwin: a mask is given, but the network was made without cond_mask=True.")
            return lq
        return torch.cat([lq, torch.full_like(lq[:, :1], KNOWN) if mask is None else mask], 1)


def _extractor(channels: int, halvings: int) -> tuple[nn.Module, int]:
    """Brings the degraded picture to the size of the states, and how many channels it then has."""
    if not halvings:
        return nn.Identity(), channels
    layers: list[nn.Module] = []
    width = 16
    for _ in range(halvings):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.SiLU(), Resample(width, 2 * width, up=False)]
        channels = width = 2 * width
    return nn.Sequential(*layers), channels
