"""NAFNet (Chen et al., "Simple Baselines for Image Restoration", ECCV 2022), with the published state-dict keys."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.layers import LayerNorm2d, PointwiseConv2d, channels_last
from dtir.models.backbones.parts.reading import State, count
from dtir.models.backbones.traits import Published, Traits
from dtir.registry import BACKBONES

GOPRO = {"middle_blk_num": 1, "enc_blk_nums": [1, 1, 1, 28], "dec_blk_nums": [1, 1, 1, 1]}
SIDD = {"middle_blk_num": 12, "enc_blk_nums": [2, 2, 4, 8], "dec_blk_nums": [2, 2, 2, 2]}


class SimpleGate(nn.Module):
    """Halves the channels: the product of the two halves."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, 2C, H, W) to (B, C, H, W)."""
        first, second = x.chunk(2, dim=1)
        return first * second


class NAFBlock(nn.Module):
    """A NAFNet block: gated depthwise convolution with channel attention, then a gated feed-forward part.

    Args:
        c: Channels.
        dw_expand: Expansion of the convolution part.
        ffn_expand: Expansion of the feed-forward part.
    """

    def __init__(self, c: int, dw_expand: int = 2, ffn_expand: int = 2) -> None:
        super().__init__()
        wide, hidden = c * dw_expand, c * ffn_expand
        self.conv1 = PointwiseConv2d(c, wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, groups=wide)
        self.conv3 = PointwiseConv2d(wide // 2, c)
        self.sca = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(wide // 2, wide // 2, 1))
        self.sg = SimpleGate()
        self.conv4 = PointwiseConv2d(c, hidden)
        self.conv5 = PointwiseConv2d(hidden // 2, c)
        self.norm1 = LayerNorm2d(c)
        self.norm2 = LayerNorm2d(c)
        self.beta = nn.Parameter(torch.zeros(1, c, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, c, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        y = self.sg(self.conv2(self.conv1(self.norm1(x))))
        x = self.conv3.onto(x, y, self.beta, self.sca(y))
        return self.conv5.onto(x, self.sg(self.conv4(self.norm2(x))), self.gamma)


class NAFUNet(nn.Module):
    """The U-Net that NAFNet and its conditional variants fill with their blocks.

    Args:
        block: Makes a block from its channels.
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        width: Channels of the first level; they double at every level down.
        middle_blk_num: Blocks at the lowest level.
        enc_blk_nums: Blocks of each level on the way down.
        dec_blk_nums: Blocks of each level on the way up, lowest first.

    Raises:
        ConfigError: The two lists differ in length.
    """

    traits: ClassVar[Traits] = Traits(size_multiple=16, licence="MIT")

    def __init__(
        self,
        block: Callable[[int], nn.Module],
        in_channels: int,
        out_channels: int,
        width: int,
        middle_blk_num: int,
        enc_blk_nums: Sequence[int],
        dec_blk_nums: Sequence[int],
    ) -> None:
        super().__init__()
        if len(enc_blk_nums) != len(dec_blk_nums):
            raise ConfigError(
                f"{type(self).__name__}: enc_blk_nums={list(enc_blk_nums)} and dec_blk_nums={list(dec_blk_nums)} must "
                "have the same length, one number of blocks per level."
            )

        def blocks(channels: int, number: int) -> nn.Sequential:
            return nn.Sequential(*[block(channels) for _ in range(number)])

        self.intro = nn.Conv2d(in_channels, width, 3, padding=1)
        self.ending = nn.Conv2d(width, out_channels, 3, padding=1)
        self.encoders, self.decoders = nn.ModuleList(), nn.ModuleList()
        self.ups, self.downs = nn.ModuleList(), nn.ModuleList()
        channels = width
        for number in enc_blk_nums:
            self.encoders.append(blocks(channels, number))
            self.downs.append(nn.Conv2d(channels, 2 * channels, 2, stride=2))
            channels *= 2
        self.middle_blks = blocks(channels, middle_blk_num)
        for number in dec_blk_nums:
            self.ups.append(nn.Sequential(PointwiseConv2d(channels, 2 * channels, bias=False), nn.PixelShuffle(2)))
            channels //= 2
            self.decoders.append(blocks(channels, number))
        self.traits = dataclasses.replace(type(self).traits, size_multiple=2 ** len(enc_blk_nums))

    def by_depth(self) -> Iterator[tuple[int, nn.Sequential]]:
        """The blocks of each level on the way down, in the middle and on the way up, with how often it is halved."""
        yield from enumerate([*self.encoders, self.middle_blks])
        yield from zip(reversed(range(len(self.decoders))), self.decoders, strict=True)

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes.

        Raises:
            KeyError: The keys are another network's.
        """
        levels = range(count(state, "downs."))
        return {
            "img_channel": len(state["ending.weight"]),
            "width": len(state["intro.weight"]),
            "middle_blk_num": count(state, "middle_blks."),
            "enc_blk_nums": [count(state, f"encoders.{level}.") for level in levels],
            "dec_blk_nums": [count(state, f"decoders.{level}.") for level in levels],
        }

    def ordered_blocks(self) -> list[str]:
        """Names of the blocks, shallow to deep: encoders.0.0, ..., middle_blks.0, ..., decoders.0.0, ..."""
        levels = [(f"encoders.{i}", level) for i, level in enumerate(self.encoders)]
        levels.append(("middle_blks", self.middle_blks))
        levels += [(f"decoders.{i}", level) for i, level in enumerate(self.decoders)]
        return [f"{name}.{k}" for name, level in levels for k in range(len(level))]

    def padded(self, x: Tensor) -> Tensor:
        """(B, C, H, W), H, W >= 1, with zeros below and to the right up to multiples of what the levels need."""
        height, width = x.shape[-2:]
        multiple = self.traits.size_multiple
        return F.pad(x, (0, -width % multiple, 0, -height % multiple))

    def run(
        self,
        x: Tensor,
        *condition: Tensor,
        adapt_down: Callable[[int, Tensor], Tensor] | None = None,
        adapt: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """The network without its global skip.

        Args:
            x: Padded pictures (B, in_channels, H, W).
            condition: What every block gets too.
            adapt_down: Changes the features (B, C, H, W) with which a level on the way down ends, before they are kept
                for the way up, given its number, highest first; None leaves them.
            adapt: Changes the features (B, C, H, W) with which a level on the way up ends, given its number, lowest
                first; None leaves them.

        Returns:
            (B, out_channels, H, W).
        """
        first = self.intro(channels_last(x))
        return self.ending(self.features(first, *condition, adapt_down=adapt_down, adapt=adapt))

    def features(
        self,
        x: Tensor,
        *condition: Tensor,
        adapt_down: Callable[[int, Tensor], Tensor] | None = None,
        adapt: Callable[[int, Tensor], Tensor] | None = None,
    ) -> Tensor:
        """From the first features (B, width, H, W) to those before the last convolution; arguments as of `run`."""
        skips = []
        for level, (encoder, down) in enumerate(zip(self.encoders, self.downs, strict=True)):
            x = _through(encoder, x, condition)
            x = x if adapt_down is None else adapt_down(level, x)
            skips.append(x)
            x = down(x)
        x = _through(self.middle_blks, x, condition)
        for level, (decoder, up, skip) in enumerate(zip(self.decoders, self.ups, reversed(skips), strict=True)):
            x = _through(decoder, up(x) + skip, condition)
            x = x if adapt is None else adapt(level, x)
        return x


def _through(blocks: nn.Sequential, x: Tensor, condition: tuple[Tensor, ...]) -> Tensor:
    for block in blocks:
        x = block(x, *condition)
    return x


@BACKBONES.register_module()
class NAFNet(NAFUNet):
    """NAFNet: a U-Net of blocks `NAFBlock` with a global skip.

    Args:
        img_channel: Channels of the picture.
        width: Channels of the first level; they double at every level down.
        middle_blk_num: Blocks at the lowest level.
        enc_blk_nums: Blocks of each level on the way down.
        dec_blk_nums: Blocks of each level on the way up, lowest first.

    Raises:
        ConfigError: The two lists differ in length.
    """

    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "nafnet_gopro_w32": Published({"width": 32, **GOPRO}, 17.11),
        "nafnet_gopro_w64": Published({"width": 64, **GOPRO}, 67.89, "arXiv 2506.21722, table 4", 63.0),
        "nafnet_sidd_w32": Published({"width": 32, **SIDD}, 29.16),
        "nafnet_sidd_w64": Published({"width": 64, **SIDD}, 115.98),
    }

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 16,
        middle_blk_num: int = 1,
        enc_blk_nums: Sequence[int] = (),
        dec_blk_nums: Sequence[int] = (),
    ) -> None:
        super().__init__(NAFBlock, img_channel, img_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums)

    def forward(self, inp: Tensor) -> Tensor:
        """(B, img_channel, H, W) in [0, 1], H, W >= 1, to the same shape; the values are not clipped."""
        height, width = inp.shape[-2:]
        inp = self.padded(inp)
        return (self.run(inp) + inp)[..., :height, :width]


class GlobalAvgPool2d(nn.Module):
    """The means of the channels, as a module that `LocalAvgPool2d` can take the place of."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, 1, 1)."""
        return x.mean(dim=(2, 3), keepdim=True)


class LocalAvgPool2d(nn.Module):
    """Average pooling over a window around each pixel in place of the global one (Chu et al., TLC, ECCV 2022).

    Args:
        kernel_size: Height and width of the window; where the feature map is not larger, the pool is global.
    """

    def __init__(self, kernel_size: tuple[int, int]) -> None:
        super().__init__()
        self.kernel_size = kernel_size

    def forward(self, x: Tensor) -> Tensor:
        """Local means (B, C, H, W), replicated at the border; (B, C, 1, 1) where the pool is global."""
        height, width = x.shape[-2:]
        rows, columns = min(height, self.kernel_size[0]), min(width, self.kernel_size[1])
        if (rows, columns) == (height, width):
            return x.mean(dim=(2, 3), keepdim=True)
        means = _window_sums(x, rows, columns).div_(rows * columns).to(x.dtype)
        above, left = (rows - 1) // 2, (columns - 1) // 2
        return F.pad(means, (left, columns - 1 - left, above, rows - 1 - above), mode="replicate")

    def extra_repr(self) -> str:
        """The window, for `print(model)`."""
        return f"kernel_size={self.kernel_size}"


def _window_sums(x: Tensor, rows: int, columns: int) -> Tensor:
    """Sums over all windows that lie inside (B, C, H, W), as differences of cumulated sums."""
    # A picture's cumulated sum overflows half precision and loses every digit of bfloat16.
    kind = torch.promote_types(x.dtype, torch.float32)
    sums = F.pad(x.cumsum(-1, dtype=kind).cumsum(-2), (1, 0, 1, 0))
    strips = sums[..., rows:, :] - sums[..., :-rows, :]
    return strips[..., columns:] - strips[..., :-columns]


@BACKBONES.register_module()
class NAFNetLocal(NAFNet):
    """NAFNet with local pooling at test time (TLC), for pictures larger than the training patches.

    The state dict is NAFNet's. Every pooling window is 1.5 times what its layer saw of a training patch.

    Args:
        img_channel: As in `NAFNet`.
        width: As in `NAFNet`.
        middle_blk_num: As in `NAFNet`.
        enc_blk_nums: As in `NAFNet`.
        dec_blk_nums: As in `NAFNet`.
        train_size: Shape (B, C, H, W) of the training patches.
        fast_imp: The published code's approximate pooling on a strided grid; not offered here.

    Raises:
        ConfigError: `fast_imp` is set.
    """

    traits: ClassVar[Traits] = dataclasses.replace(NAFUNet.traits, tiles="nearly")
    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "nafnet_local_gopro_w32": Published({"width": 32, **GOPRO}, 17.11, "state dict of NAFNet")
    }

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 16,
        middle_blk_num: int = 1,
        enc_blk_nums: Sequence[int] = (),
        dec_blk_nums: Sequence[int] = (),
        train_size: Sequence[int] = (1, 3, 256, 256),
        fast_imp: bool = False,
    ) -> None:
        super().__init__(img_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums)
        if fast_imp:
            raise ConfigError("NAFNetLocal: fast_imp=True, TLC's approximate pooling, is not offered; use False.")
        for depth, level in self.by_depth():
            self._pool_locally(level, depth, train_size[-2:])

    def _pool_locally(self, level: nn.Sequential, depth: int, patch: Sequence[int]) -> None:
        padded = [side + -side % self.traits.size_multiple for side in patch]
        window = tuple((p >> depth) * int(1.5 * side) // side for p, side in zip(padded, patch, strict=True))
        for block in level:
            block.sca[0] = LocalAvgPool2d(window)
