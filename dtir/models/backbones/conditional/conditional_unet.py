"""The U-Nets of IR-SDE (Luo et al., "Image Restoration with Mean-Reverting Stochastic Differential Equations", ICML
2023), with the published state-dict keys."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from dtir.models.backbones.parts.reading import State, whole
from dtir.models.backbones.parts.time_unet import (
    Attention,
    LinearAttention,
    ResBlock,
    SinusoidalPosEmb,
    TimeMLP,
    TimeUNet,
    beside_condition,
    level_widths,
    time_tensor,
)
from dtir.models.backbones.traits import Published
from dtir.registry import BACKBONES


def time_mlp(dim: int) -> TimeMLP:
    """From time steps (B,) to features (B, 4 dim)."""
    return TimeMLP(SinusoidalPosEmb(dim), nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, 4 * dim))


@BACKBONES.register_module()
class ConditionalUNet(TimeUNet):
    """IR-SDE's U-Net: predicts the noise in a state, given the degraded picture and the time.

    Args:
        in_nc: Channels of the picture.
        out_nc: Channels of the output.
        nf: Channels of the first features; they double at every level down.
        depth: Levels.
        upscale: Without effect, as in the published code.
        ch_mult: Channels after each level over `nf`, in place of `depth`: how the latent variant is set.
        mask_nc: Channels of a condition after those of the picture, 1 for a mask; the published network has none.
    """

    PUBLISHED: ClassVar[Mapping[str, Published]] = {"irsde_unet": Published({}, 137.15)}

    def __init__(
        self,
        in_nc: int = 3,
        out_nc: int = 3,
        nf: int = 64,
        depth: int = 4,
        upscale: int = 1,
        ch_mult: Sequence[int] | None = None,
        mask_nc: int = 0,
    ) -> None:
        factors = [2 ** (level + 1) for level in range(depth)] if ch_mult is None else ch_mult
        super().__init__(
            [nf, *(nf * factor for factor in factors)],
            time_mlp(nf),
            lambda dim_in, dim_out: ResBlock(dim_in, dim_out, 4 * nf),
            lambda level, dim: LinearAttention(dim),
            LinearAttention,
            nn.Conv2d(2 * in_nc + mask_nc, nf, 7, padding=3, bias=False),
            nn.Conv2d(nf, out_nc, 3, padding=1),
            bias=False,
        )
        self.mask_channels = mask_nc

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes.

        Raises:
            KeyError: The keys are another network's.
        """
        (nf, *widths), inputs = level_widths(state), state["init_conv.weight"].shape[1]
        # Twice the picture's channels, and one of a mask.
        settings = {"in_nc": inputs // 2, "out_nc": len(state["final_conv.weight"]), "nf": nf, "mask_nc": inputs % 2}
        if widths == [nf * 2 ** (level + 1) for level in range(len(widths))]:
            return {**settings, "depth": len(widths)}
        return {**settings, "ch_mult": [whole(width, nf) for width in widths]}

    def forward(self, xt: Tensor, cond: Tensor | None = None, time: Tensor | float = 0) -> Tensor:
        """The noise in `xt`.

        Args:
            xt: States (B, in_nc, H, W), H, W >= 1.
            cond: Degraded pictures and masks (B, in_nc + mask_nc, H, W); by default the states themselves, of which
                nothing is missing.
            time: Time steps, one or (B,).

        Returns:
            (B, out_nc, H, W).
        """
        return self.run(beside_condition(xt, cond, self.mask_channels), self.time_mlp(time_tensor(time, xt)))


@BACKBONES.register_module()
class DenoisingUNet(TimeUNet):
    """The U-Net of IR-SDE's denoising SDE, published as `ConditionalUNet` too: it has no condition, and all pixels
    attend to each other at the bottom.

    Args:
        in_nc: Channels of the picture.
        out_nc: Channels of the output.
        nf: Channels of the first features; they double at every level down.
        depth: Levels.
        upscale: Without effect, as in the published code.
    """

    PUBLISHED: ClassVar[Mapping[str, Published]] = {"irsde_denoising_unet": Published()}

    def __init__(self, in_nc: int = 3, out_nc: int = 3, nf: int = 64, depth: int = 4, upscale: int = 1) -> None:
        super().__init__(
            [nf * 2**level for level in range(depth + 1)],
            time_mlp(nf),
            lambda dim_in, dim_out: ResBlock(dim_in, dim_out, 4 * nf),
            lambda level, dim: LinearAttention(dim),
            Attention,
            nn.Conv2d(in_nc, nf, 7, padding=3, bias=False),
            nn.Conv2d(nf, out_nc, 3, padding=1),
            bias=False,
        )

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes.

        Raises:
            KeyError: The keys are another network's.
        """
        nf, *widths = level_widths(state)
        outputs, inputs = len(state["final_conv.weight"]), state["init_conv.weight"].shape[1]
        return {"in_nc": inputs, "out_nc": outputs, "nf": nf, "depth": len(widths)}

    def forward(self, x: Tensor, time: Tensor | float = 0) -> Tensor:
        """The noise (B, out_nc, H, W) in states (B, in_nc, H, W) at time steps, one or (B,)."""
        return self.run(x, self.time_mlp(time_tensor(time, x)))
