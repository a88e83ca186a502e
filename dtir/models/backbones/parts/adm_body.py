"""What ADM's U-Net (Dhariwal and Nichol, "Diffusion Models Beat GANs on Image Synthesis", NeurIPS 2021) has in common
with those of latent diffusion, ResShift and StableSR: its levels on the way down and up, with the published keys."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from .adm_blocks import Resample, ResBlock, TimestepSequential, timestep_embedding
from .time_unet import time_tensor

MakeBlock = Callable[[int, int, int, str | None], ResBlock]


class Place(NamedTuple):
    """Where a network may attend.

    Attributes:
        way: "down", "middle" or "up".
        level: 0 is the finest.
        block: After which residual block of the level, from 0 on.
    """

    way: str
    level: int
    block: int = 0


@dataclass(frozen=True)
class ADMPlan:
    """How the levels are put together.

    Args:
        first: The first convolution.
        widths: Channels of each level.
        counts: Residual blocks of each level on the way down; there is one more on the way up.
        resblock: Makes a residual block from the channels of its input and output, its level, and "up", "down" or None.
        attention: Makes what attends over so many channels at a place; None where nothing does.
        resblock_updown: Whether residual blocks change height and width, and not `Resample`.
        conv_resample: Whether `Resample` has a convolution.
        sequential: What holds layers that follow each other.
    """

    first: nn.Conv2d
    widths: Sequence[int]
    counts: Sequence[int]
    resblock: MakeBlock
    attention: Callable[[int, Place], nn.Module | None]
    resblock_updown: bool = False
    conv_resample: bool = True
    sequential: type[TimestepSequential] = TimestepSequential

    def down(self) -> nn.ModuleList:
        """The way down: the first convolution, the residual blocks, and what halves height and width."""
        return nn.ModuleList([self.sequential(self.first), *self._down()])

    def middle(self) -> TimestepSequential:
        """Two residual blocks, and what attends between them."""
        width, level = self.widths[-1], len(self.widths) - 1
        return self.sequential(
            self.resblock(width, width, level, None),
            self.attention(width, Place("middle", level)),
            self.resblock(width, width, level, None),
        )

    def up(self) -> nn.ModuleList:
        """The way up: residual blocks, which get what the way down left, and what doubles height and width."""
        return nn.ModuleList(self._up())

    def level_ends(self) -> list[int]:
        """The place of each level's last residual block in `down`."""
        return [sum(self.counts[: level + 1]) + level for level in range(len(self.widths))]

    def _down(self) -> Iterator[TimestepSequential]:
        channels = self.first.out_channels
        for level, width in enumerate(self.widths):
            for k in range(self.counts[level]):
                yield self._step(channels, width, Place("down", level, k))
                channels = width
            if level < len(self.widths) - 1:
                yield self.sequential(self._changed(channels, "down", level + 1))

    def _up(self) -> Iterator[TimestepSequential]:
        skips, channels = self._skips(), self.widths[-1]
        for level in reversed(range(len(self.widths))):
            for k in range(self.counts[level] + 1):
                step = self._step(channels + skips.pop(), self.widths[level], Place("up", level, k))
                channels = self.widths[level]
                if level > 0 and k == self.counts[level]:
                    step.append(self._changed(channels, "up", level - 1))
                yield step

    def _skips(self) -> list[int]:
        """Channels of what each of `down` gives."""
        last = len(self.widths) - 1
        of_levels = [[width] * (self.counts[level] + (level < last)) for level, width in enumerate(self.widths)]
        return [self.first.out_channels, *itertools.chain.from_iterable(of_levels)]

    def _step(self, channels: int, width: int, place: Place) -> TimestepSequential:
        block = self.resblock(channels, width, place.level, None)
        attention = self.attention(width, place)
        return self.sequential(block) if attention is None else self.sequential(block, attention)

    def _changed(self, channels: int, to: str, level: int) -> nn.Module:
        if self.resblock_updown:
            return self.resblock(channels, channels, level, to)
        return Resample(channels, channels, to == "up", self.conv_resample)


def time_features(time_embed: nn.Sequential, timesteps: Tensor | float, x: Tensor) -> Tensor:
    """Time features (B, D) of inputs.

    Args:
        time_embed: Two linear layers from embeddings to features, see `time_mlp`.
        timesteps: Time steps, one or (B,).
        x: The inputs (B, ...).
    """
    embedding = timestep_embedding(time_tensor(timesteps, x), time_embed[0].in_features)
    return time_embed(embedding.to(time_embed[0].weight.dtype))


class ADMBody(nn.Module):
    """A U-Net of `ADMPlan`'s levels.

    Attributes:
        time_embed: As `time_features` takes it.
        input_blocks: The way down.
        middle_block: The middle.
        output_blocks: The way up.
        out: The last layers.
    """

    time_embed: nn.Sequential
    input_blocks: nn.ModuleList
    middle_block: TimestepSequential
    output_blocks: nn.ModuleList
    out: nn.Sequential

    def ordered_blocks(self) -> list[str]:
        """The residual blocks, shallow to deep."""
        return [
            name
            for part in ("input_blocks", "middle_block", "output_blocks")
            for name, module in self.named_modules()
            if name.startswith(part) and isinstance(module, ResBlock)
        ]

    def run(self, x: Tensor, timesteps: Tensor | float, *conditions: object) -> Tensor:
        """Inputs (B, C, H, W), height and width multiples of `size_multiple`, to (B, C', H, W).

        Args:
            x: What the first convolution takes.
            timesteps: Time steps, one or (B,).
            conditions: What the layers take besides the time.
        """
        emb, skips = time_features(self.time_embed, timesteps, x), []
        for block in self.input_blocks:
            x = block(x, emb, *conditions)
            skips.append(x)
        x = self.middle_block(x, emb, *conditions)
        for block in self.output_blocks:
            x = block(torch.cat([x, skips.pop()], 1), emb, *conditions)
        return self.out(x)
