"""StableSR's controllable feature wrapping (Wang et al., IJCV 2024, section 3.3), with the published state-dict keys: a
decoder that is given the degraded picture's features, with a weight between what is generated and what is there."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from .ldm_networks import Decoder, norm

# Of the dense blocks: what each convolution adds.
GROWTH = 32


class ConvPair(nn.Module):
    """Two normalised convolutions with a skip.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.norm1 = norm(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = norm(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_out = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        return self.conv_out(x) + self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))


class ResidualDenseBlock(nn.Module):
    """Five convolutions, each of which sees all before it (Wang et al., "ESRGAN", ECCV workshops 2018).

    Args:
        num_feat: Channels.
    """

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        for number in range(5):
            out = num_feat if number == 4 else GROWTH
            self.add_module(f"conv{number + 1}", nn.Conv2d(num_feat + number * GROWTH, out, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_feat, H, W) to the same shape."""
        *convs, last = self.children()
        seen = x
        for conv in convs:
            seen = torch.cat([seen, F.leaky_relu(conv(seen), 0.2)], 1)
        return x + 0.2 * last(seen)


class RRDB(nn.Module):
    """Three dense blocks with a skip.

    Args:
        num_feat: Channels.
    """

    def __init__(self, num_feat: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = (ResidualDenseBlock(num_feat) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        """(B, num_feat, H, W) to the same shape."""
        return x + 0.2 * self.rdb3(self.rdb2(self.rdb1(x)))


class FeatureFusion(nn.Module):
    """Adds to a decoder's features what they and the encoder's say together.

    Args:
        channels: Channels of the features.
        num_block: `RRDB`s.
    """

    def __init__(self, channels: int, num_block: int) -> None:
        super().__init__()
        self.encode_enc_1 = ConvPair(2 * channels, channels)
        self.encode_enc_2 = nn.Sequential(*(RRDB(channels) for _ in range(num_block)))
        self.encode_enc_3 = ConvPair(channels, channels)

    def forward(self, encoded: Tensor, decoded: Tensor, weight: float) -> Tensor:
        """The encoder's and the decoder's features, (B, channels, H, W) each, to the same shape."""
        added = self.encode_enc_3(self.encode_enc_2(self.encode_enc_1(torch.cat([encoded, decoded], 1))))
        return decoded + weight * added


class Decoder_Mix(Decoder):  # noqa: N801 as published
    """A decoder whose levels, but for the finest and the coarsest, take in the encoder's features.

    Args:
        num_fuse_block: `RRDB`s of each level's fusion.
        fusion_w: w of the paper, from 0, the decoder alone, to 1, as near to the degraded picture as it gets.
        ddconfig: As of `Decoder`, and `ch` and `ch_mult`.
    """

    def __init__(
        self,
        *,
        num_fuse_block: int = 2,
        fusion_w: float = 1.0,
        ch: int = 128,
        ch_mult: Sequence[int] = (1, 2, 4, 8),
        **ddconfig,
    ) -> None:
        super().__init__(ch=ch, ch_mult=ch_mult, **ddconfig)
        self.fusion_w = fusion_w
        for number in range(1, len(ch_mult) - 1):
            self.add_module(f"fusion_layer_{number}", FeatureFusion(ch * ch_mult[number], num_fuse_block))

    def fusions(self) -> list[FeatureFusion]:
        """The fusions, finest first."""
        return [module for module in self.children() if isinstance(module, FeatureFusion)]

    @override
    def forward(self, z: Tensor, enc_fea: Sequence[Tensor], fusion_w: float | None = None) -> Tensor:
        """The picture of a latent picture and of the degraded picture's features.

        Args:
            z: Latent pictures (B, z_channels, h, w).
            enc_fea: What `Encoder(..., return_fea=True)` gives of the degraded pictures, finest first.
            fusion_w: By default the decoder's own.

        Returns:
            (B, out_ch, f h, f w).
        """

        weight = self.fusion_w if fusion_w is None else fusion_w

        def fused(number: int, x: Tensor) -> Tensor:
            fusion = getattr(self, f"fusion_layer_{number}", None)
            return x if fusion is None else fusion(enc_fea[number - 1], x, weight)

        return self.run(z, fused)
