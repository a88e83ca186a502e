"""MPRNet (Zamir et al., "Multi-Stage Progressive Image Restoration", CVPR 2021), with the published state-dict keys.

1x1 convolutions commute with bilinear upsampling, so features are projected before they are enlarged.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.models.backbones.parts.channel_attention import CALayer
from dtir.models.backbones.parts.layers import channels_last, pad_to_multiple
from dtir.models.backbones.parts.reading import State, count, whole
from dtir.models.backbones.traits import Published, Traits
from dtir.registry import BACKBONES


def _conv(channels: int, out: int, kernel_size: int, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(channels, out, kernel_size, padding=kernel_size // 2, bias=bias)


def _twice(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class CAB(nn.Module):
    """A residual block with channel attention.

    Args:
        n_feat: Channels.
        kernel_size: Kernel size of the convolutions.
        reduction: Reduction of the channel attention.
        bias: Whether the convolutions have one.
        act: The activation, one module for the whole network.
    """

    def __init__(self, n_feat: int, kernel_size: int, reduction: int, bias: bool, act: nn.Module) -> None:
        super().__init__()
        self.CA = CALayer(n_feat, reduction, bias)
        self.body = nn.Sequential(
            _conv(n_feat, n_feat, kernel_size, bias), act, _conv(n_feat, n_feat, kernel_size, bias)
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        y = self.body(x)
        return torch.addcmul(x, y, self.CA.weights(y))


class SAM(nn.Module):
    """Supervised attention: a stage's picture, and features weighted by it (section 3.3).

    Args:
        n_feat: Channels.
        kernel_size: Kernel size of the convolutions.
        bias: Whether they have one.
    """

    def __init__(self, n_feat: int, kernel_size: int, bias: bool) -> None:
        super().__init__()
        self.conv1 = _conv(n_feat, n_feat, kernel_size, bias)
        self.conv2 = _conv(n_feat, 3, kernel_size, bias)
        self.conv3 = _conv(3, n_feat, kernel_size, bias)

    def forward(self, x: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, C, H, W) and degraded (B, 3, H, W) to features (B, C, H, W) and restored (B, 3, H, W)."""
        restored = self.conv2(x) + picture
        return torch.addcmul(x, self.conv1(x), self.conv3(restored).sigmoid()), restored


class DownSample(nn.Module):
    """Half the height and width, and more channels.

    Args:
        in_channels: Channels of the input.
        s_factor: Channels that are added.
    """

    def __init__(self, in_channels: int, s_factor: int) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Identity(), _conv(in_channels, in_channels + s_factor, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C + s_factor, H / 2, W / 2)."""
        return self.down(F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False))


class UpSample(nn.Module):
    """Twice the height and width, and fewer channels.

    Args:
        in_channels: Channels of the output.
        s_factor: Channels that the input has more.
    """

    def __init__(self, in_channels: int, s_factor: int) -> None:
        super().__init__()
        self.up = nn.Sequential(nn.Identity(), _conv(in_channels + s_factor, in_channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C + s_factor, H, W) to (B, C, 2H, 2W)."""
        return _twice(self.up(x))


class SkipUpSample(UpSample):
    """`UpSample`, with the features of a skip added."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """(B, C + s_factor, H, W) and the skip (B, C, 2H, 2W) to (B, C, 2H, 2W)."""
        return super().forward(x) + y


class Encoder(nn.Module):
    """The way down of a stage's U-Net.

    Args:
        n_feat: Channels of the first level.
        kernel_size: Kernel size of the convolutions.
        reduction: Reduction of the channel attention.
        act: The activation, one module for the whole network.
        bias: Whether the convolutions have one.
        scale_unetfeats: Channels that each level adds.
        csff: Whether the features of the stage before are taken in (cross-stage feature fusion).
    """

    def __init__(
        self,
        n_feat: int,
        kernel_size: int,
        reduction: int,
        act: nn.Module,
        bias: bool,
        scale_unetfeats: int,
        csff: bool,
    ) -> None:
        super().__init__()
        self.csff = csff
        for level in range(3):
            width = n_feat + level * scale_unetfeats
            blocks = [CAB(width, kernel_size, reduction, bias, act) for _ in range(2)]
            setattr(self, f"encoder_level{level + 1}", nn.Sequential(*blocks))
            if csff:
                setattr(self, f"csff_enc{level + 1}", _conv(width, width, 1, bias))
                setattr(self, f"csff_dec{level + 1}", _conv(width, width, 1, bias))
        self.down12 = DownSample(n_feat, scale_unetfeats)
        self.down23 = DownSample(n_feat + scale_unetfeats, scale_unetfeats)

    def forward(
        self, x: Tensor, encoder_outs: Sequence[Tensor] | None = None, decoder_outs: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """Features (B, C, H, W), and those of the stage before, to the features of the three levels."""
        level1 = self._fused(1, self.encoder_level1(x), encoder_outs, decoder_outs)
        level2 = self._fused(2, self.encoder_level2(self.down12(level1)), encoder_outs, decoder_outs)
        level3 = self._fused(3, self.encoder_level3(self.down23(level2)), encoder_outs, decoder_outs)
        return [level1, level2, level3]

    def _fused(self, level: int, x: Tensor, encoder_outs: Sequence | None, decoder_outs: Sequence | None) -> Tensor:
        if not self.csff:
            return x
        x = x + getattr(self, f"csff_enc{level}")(encoder_outs[level - 1])
        return x + getattr(self, f"csff_dec{level}")(decoder_outs[level - 1])


class Decoder(nn.Module):
    """The way up of a stage's U-Net.

    Args:
        n_feat: Channels of the first level.
        kernel_size: Kernel size of the convolutions.
        reduction: Reduction of the channel attention.
        act: The activation, one module for the whole network.
        bias: Whether the convolutions have one.
        scale_unetfeats: Channels that each level adds.
    """

    def __init__(
        self, n_feat: int, kernel_size: int, reduction: int, act: nn.Module, bias: bool, scale_unetfeats: int
    ) -> None:
        super().__init__()
        for level in range(3):
            width = n_feat + level * scale_unetfeats
            blocks = [CAB(width, kernel_size, reduction, bias, act) for _ in range(2)]
            setattr(self, f"decoder_level{level + 1}", nn.Sequential(*blocks))
        self.skip_attn1 = CAB(n_feat, kernel_size, reduction, bias, act)
        self.skip_attn2 = CAB(n_feat + scale_unetfeats, kernel_size, reduction, bias, act)
        self.up21 = SkipUpSample(n_feat, scale_unetfeats)
        self.up32 = SkipUpSample(n_feat + scale_unetfeats, scale_unetfeats)

    def forward(self, outs: Sequence[Tensor]) -> list[Tensor]:
        """The features of the three levels on the way down to those on the way up."""
        level1, level2, level3 = outs
        up3 = self.decoder_level3(level3)
        up2 = self.decoder_level2(self.up32(up3, self.skip_attn2(level2)))
        up1 = self.decoder_level1(self.up21(up2, self.skip_attn1(level1)))
        return [up1, up2, up3]


class ORB(nn.Module):
    """A residual group of channel attention blocks at full resolution.

    Args:
        n_feat: Channels.
        kernel_size: Kernel size of the convolutions.
        reduction: Reduction of the channel attention.
        act: The activation, one module for the whole network.
        bias: Whether the blocks' convolutions have one.
        num_cab: Blocks.
    """

    def __init__(self, n_feat: int, kernel_size: int, reduction: int, act: nn.Module, bias: bool, num_cab: int) -> None:
        super().__init__()
        blocks = [CAB(n_feat, kernel_size, reduction, bias, act) for _ in range(num_cab)]
        self.body = nn.Sequential(*blocks, _conv(n_feat, n_feat, kernel_size))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return self.body(x) + x


class ORSNet(nn.Module):
    """The last stage, at full resolution, which takes in the features of the second one.

    Args:
        n_feat: Channels of the stages before.
        scale_orsnetfeats: Channels that this one has more.
        kernel_size: Kernel size of the convolutions.
        reduction: Reduction of the channel attention.
        act: The activation, one module for the whole network.
        bias: Whether the convolutions have one.
        scale_unetfeats: Channels that each level of the stages before adds.
        num_cab: Blocks of each group.
    """

    def __init__(
        self,
        n_feat: int,
        scale_orsnetfeats: int,
        kernel_size: int,
        reduction: int,
        act: nn.Module,
        bias: bool,
        scale_unetfeats: int,
        num_cab: int,
    ) -> None:
        super().__init__()
        width = n_feat + scale_orsnetfeats
        for k in (1, 2, 3):
            setattr(self, f"orb{k}", ORB(width, kernel_size, reduction, act, bias, num_cab))
            setattr(self, f"conv_enc{k}", _conv(n_feat, width, 1, bias))
            setattr(self, f"conv_dec{k}", _conv(n_feat, width, 1, bias))
        for side in ("enc", "dec"):
            setattr(self, f"up_{side}1", UpSample(n_feat, scale_unetfeats))
            lower = UpSample(n_feat + scale_unetfeats, scale_unetfeats)
            setattr(self, f"up_{side}2", nn.Sequential(lower, UpSample(n_feat, scale_unetfeats)))

    def forward(self, x: Tensor, encoder_outs: Sequence[Tensor], decoder_outs: Sequence[Tensor]) -> Tensor:
        """Features (B, C, H, W), and those of the second stage's levels, to (B, C, H, W)."""
        (enc1, enc2, enc3), (dec1, dec2, dec3) = encoder_outs, decoder_outs
        x = self.orb1(x) + self.conv_enc1(enc1) + self.conv_dec1(dec1)
        half = self.conv_enc2(self.up_enc1.up(enc2)) + self.conv_dec2(self.up_dec1.up(dec2))
        x = self.orb2(x) + _twice(half)
        quarter = self.conv_enc3(_projected(self.up_enc2, enc3)) + self.conv_dec3(_projected(self.up_dec2, dec3))
        return self.orb3(x) + _twice(_twice(quarter))


def _projected(ups: nn.Sequential, x: Tensor) -> Tensor:
    """What the projections of upsampling layers make of features, which are not enlarged yet."""
    for layer in ups:
        x = layer.up(x)
    return x


@BACKBONES.register_module()
class MPRNet(nn.Module):
    """MPRNet: a stage on four quarters, one on two halves, and one on the whole picture.

    Args:
        in_c: Channels of the picture.
        out_c: Channels of the output.
        n_feat: Channels of the first two stages; 40 for deraining, 80 for denoising, 96 for deblurring.
        scale_unetfeats: Channels that each level of their U-Nets adds; 20, 48, 48.
        scale_orsnetfeats: Channels that the last stage has more; 16, 32, 32.
        num_cab: Blocks of each group of the last stage.
        kernel_size: Kernel size of the convolutions.
        reduction: Reduction of the channel attention.
        bias: Whether the convolutions have one.
    """

    traits: ClassVar[Traits] = Traits(size_multiple=8, licence="Academic Public License (non-commercial)")
    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "mprnet_deraining": Published({}, 3.64),
        "mprnet_denoising": Published({"n_feat": 80, "scale_unetfeats": 48, "scale_orsnetfeats": 32}, 15.74),
        "mprnet_deblurring": Published({"n_feat": 96, "scale_unetfeats": 48, "scale_orsnetfeats": 32}, 20.13),
    }

    def __init__(
        self,
        in_c: int = 3,
        out_c: int = 3,
        n_feat: int = 40,
        scale_unetfeats: int = 20,
        scale_orsnetfeats: int = 16,
        num_cab: int = 8,
        kernel_size: int = 3,
        reduction: int = 4,
        bias: bool = False,
    ) -> None:
        super().__init__()
        act = nn.PReLU()
        unet = (n_feat, kernel_size, reduction, act, bias, scale_unetfeats)
        for stage in (1, 2, 3):
            block = CAB(n_feat, kernel_size, reduction, bias, act)
            setattr(self, f"shallow_feat{stage}", nn.Sequential(_conv(in_c, n_feat, kernel_size, bias), block))
        self.stage1_encoder, self.stage1_decoder = Encoder(*unet, csff=False), Decoder(*unet)
        self.stage2_encoder, self.stage2_decoder = Encoder(*unet, csff=True), Decoder(*unet)
        self.stage3_orsnet = ORSNet(
            n_feat, scale_orsnetfeats, kernel_size, reduction, act, bias, scale_unetfeats, num_cab
        )
        self.sam12 = SAM(n_feat, 1, bias)
        self.sam23 = SAM(n_feat, 1, bias)
        self.concat12 = _conv(2 * n_feat, n_feat, kernel_size, bias)
        self.concat23 = _conv(2 * n_feat, n_feat + scale_orsnetfeats, kernel_size, bias)
        self.tail = _conv(n_feat + scale_orsnetfeats, out_c, kernel_size, bias)

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes.

        Raises:
            KeyError: The keys are another network's.
        """
        shallow, tail = state["shallow_feat1.0.weight"], state["tail.weight"]
        n_feat = len(shallow)
        return {
            "in_c": shallow.shape[1],
            "out_c": len(tail),
            "n_feat": n_feat,
            "scale_unetfeats": len(state["stage1_encoder.encoder_level2.0.body.0.weight"]) - n_feat,
            "scale_orsnetfeats": tail.shape[1] - n_feat,
            "num_cab": count(state, "stage3_orsnet.orb1.body.") - 1,
            "kernel_size": shallow.shape[-1],
            "reduction": whole(n_feat, len(state["shallow_feat1.1.CA.conv_du.0.weight"])),
            "bias": "tail.bias" in state,
        }

    def ordered_blocks(self) -> list[str]:
        """The channel attention blocks of the U-Nets and the groups of the last stage, shallow to deep."""
        names = []
        for stage in (1, 2):
            names += [f"stage{stage}_encoder.encoder_level{level}.{k}" for level in (1, 2, 3) for k in range(2)]
            names += [f"stage{stage}_decoder.decoder_level{level}.{k}" for level in (3, 2, 1) for k in range(2)]
        return [*names, *(f"stage3_orsnet.orb{k}" for k in (1, 2, 3))]

    def forward(self, x3_img: Tensor) -> list[Tensor]:
        """Restored pictures of the last, second and first stage.

        Args:
            x3_img: (B, in_c, H, W) in [0, 1], H, W >= 1.

        Returns:
            Three tensors (B, out_c, H, W), not clipped.
        """
        height, width = x3_img.shape[-2:]
        picture = channels_last(pad_to_multiple(x3_img, self.traits.size_multiple))
        halves = picture.chunk(2, dim=2)
        # The parts go through one by one, so that every block sees one feature map per picture.
        first = [self._first_stage(half) for half in halves]
        stage1 = torch.cat([restored for _, _, _, restored in first], 2)
        second = [self._second_encoder(half, *outs[:3]) for half, outs in zip(halves, first, strict=True)]
        down = [torch.cat(levels, 2) for levels in zip(*second, strict=True)]
        up = self.stage2_decoder(down)
        features, stage2 = self.sam23(up[0], picture)
        x = self.concat23(torch.cat([self.shallow_feat3(picture), features], 1))
        stage3 = self.tail(self.stage3_orsnet(x, down, up)) + picture
        return [stage[..., :height, :width] for stage in (stage3, stage2, stage1)]

    def _first_stage(self, half: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor]:
        """Features on the way down and up, attended features, and the restored half."""
        quarters = [self.stage1_encoder(self.shallow_feat1(quarter)) for quarter in half.chunk(2, dim=3)]
        down = [torch.cat(levels, 3) for levels in zip(*quarters, strict=True)]
        up = self.stage1_decoder(down)
        return down, up, *self.sam12(up[0], half)

    def _second_encoder(self, half: Tensor, down: list[Tensor], up: list[Tensor], features: Tensor) -> list[Tensor]:
        x = self.concat12(torch.cat([self.shallow_feat2(half), features], 1))
        return self.stage2_encoder(x, down, up)
