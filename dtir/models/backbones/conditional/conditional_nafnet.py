"""The NAFNets of IR-SDE (Luo et al., "Refusion: Enabling Large-Size Realistic Image Restoration with Latent-Space
Diffusion Models", CVPR workshops 2023), with the published state-dict keys."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from dtir.models.backbones.image.nafnet import GOPRO, NAFBlock, NAFUNet, SimpleGate
from dtir.models.backbones.parts.layers import channels_last
from dtir.models.backbones.parts.reading import State
from dtir.models.backbones.parts.time_unet import (
    GainNorm,
    SinusoidalPosEmb,
    TimeMLP,
    beside_condition,
    modulated,
    time_tensor,
)
from dtir.models.backbones.traits import Published
from dtir.registry import BACKBONES


class TimeNAFBlock(NAFBlock):
    """A NAFNet block whose two norms are scaled and shifted by the time.

    Args:
        c: Channels.
        time_dim: Length of the time features.
    """

    def __init__(self, c: int, time_dim: int) -> None:
        super().__init__(c)
        self.mlp = nn.Sequential(SimpleGate(), nn.Linear(time_dim // 2, 4 * c))
        self.norm1, self.norm2 = GainNorm(c), GainNorm(c)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """(B, C, H, W) and time features (B, time_dim) to (B, C, H, W)."""
        shift1, scale1, shift2, scale2 = self.mlp(t)[..., None, None].chunk(4, dim=1)
        y = self.sg(self.conv2(self.conv1(modulated(self.norm1(x), (scale1, shift1)))))
        y = self.conv3(y * self.sca(y))
        x = torch.addcmul(x, y, self.beta)
        y = self.conv5(self.sg(self.conv4(modulated(self.norm2(x), (scale2, shift2)))))
        return torch.addcmul(x, y, self.gamma)


class TimeNAFNet(NAFUNet):
    """The U-Net of blocks `TimeNAFBlock`.

    Args:
        in_channels: Channels of the input.
        img_channel: Channels of the output.
        width: Channels of the first level; they double at every level down.
        middle_blk_num: Blocks at the lowest level.
        enc_blk_nums: Blocks of each level on the way down.
        dec_blk_nums: Blocks of each level on the way up, lowest first.
    """

    def __init__(
        self,
        in_channels: int,
        img_channel: int,
        width: int,
        middle_blk_num: int,
        enc_blk_nums: Sequence[int],
        dec_blk_nums: Sequence[int],
    ) -> None:
        time_dim = 4 * width
        super().__init__(
            lambda channels: TimeNAFBlock(channels, time_dim),
            in_channels,
            img_channel,
            width,
            middle_blk_num,
            enc_blk_nums,
            dec_blk_nums,
        )
        self.time_mlp = TimeMLP(
            SinusoidalPosEmb(width), nn.Linear(width, 2 * time_dim), SimpleGate(), nn.Linear(time_dim, time_dim)
        )

    def noise(self, x: Tensor, time: Tensor | float) -> Tensor:
        """The noise (B, img_channel, H, W) for an input (B, in_channels, H, W) and time steps, one or (B,)."""
        height, width = x.shape[-2:]
        return self.run(self.padded(x), self.time_mlp(time_tensor(time, x)))[..., :height, :width]


@BACKBONES.register_module()
class ConditionalNAFNet(TimeNAFNet):
    """IR-SDE's NAFNet: predicts the noise in a state, given the degraded picture and the time.

    Args:
        img_channel: Channels of the picture; of a latent one, those of the latent.
        width: Channels of the first level; they double at every level down.
        middle_blk_num: Blocks at the lowest level.
        enc_blk_nums: Blocks of each level on the way down.
        dec_blk_nums: Blocks of each level on the way up, lowest first.
        upscale: Without effect, as in the published code.
        mask_nc: Channels of a condition after those of the picture, 1 for a mask; the published network has none.
    """

    PUBLISHED: ClassVar[Mapping[str, Published]] = {"irsde_nafnet": Published({"width": 64, **GOPRO}, 76.61)}

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 16,
        middle_blk_num: int = 1,
        enc_blk_nums: Sequence[int] = (),
        dec_blk_nums: Sequence[int] = (),
        upscale: int = 1,
        mask_nc: int = 0,
    ) -> None:
        super().__init__(2 * img_channel + mask_nc, img_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums)
        self.mask_channels = mask_nc

    @classmethod
    @override
    def settings_of(cls, state: State) -> dict:
        """With the channels of a mask."""
        settings = super().settings_of(state)
        mask_nc = state["intro.weight"].shape[1] - 2 * settings["img_channel"]
        if mask_nc < 0:
            raise KeyError("too few channels for a state and a condition")
        return {**settings, "mask_nc": mask_nc}

    def forward(self, inp: Tensor, cond: Tensor | None = None, time: Tensor | float = 0) -> Tensor:
        """The noise in `inp`.

        Args:
            inp: States (B, img_channel, H, W), H, W >= 1.
            cond: Degraded pictures and masks (B, img_channel + mask_nc, H, W); by default the states themselves, of
                which nothing is missing.
            time: Time steps, one or (B,).

        Returns:
            (B, img_channel, H, W).
        """
        return self.noise(beside_condition(inp, cond, self.mask_channels), time)


@BACKBONES.register_module()
class LatentConditionalNAFNet(ConditionalNAFNet):
    """Refusion's NAFNet on latent pictures, published as `ConditionalNAFNet` too: what the first convolution gives is
    added before the last one.

    Args:
        options: Options of `ConditionalNAFNet`.
    """

    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "refusion_nafnet": Published({"img_channel": 8, "width": 64, **GOPRO}, channels=8)
    }

    @override
    def run(self, x: Tensor, *condition: Tensor, **adapt: Callable[[int, Tensor], Tensor] | None) -> Tensor:
        first = self.intro(channels_last(x))
        return self.ending(first + self.features(first, *condition, **adapt))


@BACKBONES.register_module()
class DenoisingNAFNet(TimeNAFNet):
    """The NAFNet of IR-SDE's denoising SDE, published as `ConditionalNAFNet` too: it has no condition.

    Args:
        img_channel: Channels of the picture.
        width: Channels of the first level; they double at every level down.
        middle_blk_num: Blocks at the lowest level.
        enc_blk_nums: Blocks of each level on the way down.
        dec_blk_nums: Blocks of each level on the way up, lowest first.
        upscale: Without effect, as in the published code.
    """

    PUBLISHED: ClassVar[Mapping[str, Published]] = {"irsde_denoising_nafnet": Published({"width": 64, **GOPRO})}

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 16,
        middle_blk_num: int = 1,
        enc_blk_nums: Sequence[int] = (),
        dec_blk_nums: Sequence[int] = (),
        upscale: int = 1,
    ) -> None:
        super().__init__(img_channel, img_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums)

    def forward(self, inp: Tensor, time: Tensor | float = 0) -> Tensor:
        """The noise in states (B, img_channel, H, W), H, W >= 1, at time steps, one or (B,)."""
        return self.noise(inp, time)
