"""DiffUIR's U-Net (Zheng et al., "Selective Hourglass Mapping for Universal Image Restoration Based on Diffusion
Model", CVPR 2024), with the published state-dict keys."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.layers import PointwiseConv2d
from dtir.models.backbones.parts.reading import State, whole
from dtir.models.backbones.parts.time_unet import (
    Attention,
    LinearAttention,
    ResBlock,
    SinusoidalPosEmb,
    TimeMLP,
    TimeUNet,
    level_widths,
    modulated,
    time_tensor,
)
from dtir.models.backbones.traits import CENTRED_RANGE, Published, Traits
from dtir.registry import BACKBONES

# Which of the two given times an objective looks at.
TIME_OF = {"pred_res": 0, "pred_noise": 1}


class WeightStandardizedConv2d(nn.Conv2d):
    """A convolution whose filters have mean 0 and variance 1 (Qiao et al., arXiv 1903.10520)."""

    @override
    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.float()
        variance, mean = torch.var_mean(weight, dim=(1, 2, 3), correction=0, keepdim=True)
        weight = ((weight - mean) * (variance + 1e-5).rsqrt()).to(self.weight.dtype)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding, self.dilation, self.groups)


class NormBlock(nn.Module):
    """A weight-standardised convolution, group norm, scaled and shifted by the time, and SiLU.

    Args:
        dim_in: Channels of the input.
        dim_out: Channels of the output.
        groups: Groups of the norm.
    """

    def __init__(self, dim_in: int, dim_out: int, groups: int) -> None:
        super().__init__()
        self.proj = WeightStandardizedConv2d(dim_in, dim_out, 3, padding=1)
        self.norm = nn.GroupNorm(groups, dim_out)

    def forward(self, x: Tensor, scale_shift: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """(B, dim_in, H, W), with scale and shift (B, dim_out, 1, 1), to (B, dim_out, H, W)."""
        return F.silu(modulated(self.norm(self.proj(x)), scale_shift))


class LearnedSinusoidalPosEmb(nn.Module):
    """The time, and sines and cosines of it at learned or random frequencies.

    Args:
        dim: Sines and cosines, even.
        is_random: Whether the frequencies stay as they are.
    """

    def __init__(self, dim: int, is_random: bool) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(dim // 2), requires_grad=not is_random)

    def forward(self, t: Tensor) -> Tensor:
        """Time steps (B,) to (B, dim + 1)."""
        t = t.to(torch.promote_types(self.weights.dtype, torch.float32))[:, None]
        phase = t * self.weights * (2 * math.pi)
        return torch.cat([t, phase.sin(), phase.cos()], -1)


@BACKBONES.register_module()
class UnetRes(nn.Module):
    """DiffUIR's network: predicts the residual, or the noise, in a state joined with the degraded picture.

    Pictures are in [-1, 1].

    Args:
        dim: Channels that `dim_mults` multiplies.
        init_dim: Channels of the first features; `dim` by default.
        out_dim: Channels of the output; those of the picture by default.
        dim_mults: Channels after each level over `dim`.
        channels: Channels of the picture.
        resnet_block_groups: Groups of the norms.
        learned_variance: Twice as many channels in the output.
        learned_sinusoidal_cond: Learned frequencies in the time embedding.
        random_fourier_features: Random frequencies in the time embedding.
        learned_sinusoidal_dim: Their number, times two.
        num_unet: 1, as in the published code.
        condition: Whether the degraded picture is joined to the state.
        objective: "pred_res" looks at the first given time, "pred_noise" at the second.
        test_res_or_noise: Setting of the published sampler; without effect in the network.

    Raises:
        ConfigError: More than one U-Net is asked for, or another objective.
    """

    traits: ClassVar[Traits] = Traits(input_range=CENTRED_RANGE, output_range=CENTRED_RANGE, size_multiple=16)
    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "diffuir_t": Published({"dim": 32, "dim_mults": [1, 1, 1, 1]}, 0.886),
        "diffuir_s": Published({"dim": 32, "dim_mults": [1, 2, 2, 4]}, 3.27, "DiffUIR"),
        "diffuir_b": Published({"dim": 64, "dim_mults": [1, 2, 2, 4]}, 12.41, "DiffUIR"),
        "diffuir_l": Published({"dim": 64, "dim_mults": [1, 2, 4, 8]}, 36.26),
    }

    def __init__(
        self,
        dim: int = 64,
        init_dim: int | None = None,
        out_dim: int | None = None,
        dim_mults: Sequence[int] = (1, 2, 4, 8),
        channels: int = 3,
        resnet_block_groups: int = 8,
        learned_variance: bool = False,
        learned_sinusoidal_cond: bool = False,
        random_fourier_features: bool = False,
        learned_sinusoidal_dim: int = 16,
        num_unet: int = 1,
        condition: bool = True,
        objective: str = "pred_res",
        test_res_or_noise: str = "res",
    ) -> None:
        super().__init__()
        if num_unet != 1:
            raise ConfigError(f"UnetRes: num_unet={num_unet}; the published network has one U-Net, set num_unet=1.")
        if objective not in TIME_OF:
            raise ConfigError(f"UnetRes: objective={objective!r} is not known; use one of {', '.join(TIME_OF)}.")
        self.channels, self.condition, self.objective = channels, condition, objective
        if learned_sinusoidal_cond or random_fourier_features:
            embedding = LearnedSinusoidalPosEmb(learned_sinusoidal_dim, random_fourier_features)
            length = learned_sinusoidal_dim + 1
        else:
            embedding, length = SinusoidalPosEmb(dim), dim
        first = dim if init_dim is None else init_dim
        out = channels * (2 if learned_variance else 1) if out_dim is None else out_dim
        self.unet0 = TimeUNet(
            [first, *(dim * factor for factor in dim_mults)],
            TimeMLP(embedding, nn.Linear(length, 4 * dim), nn.GELU(), nn.Linear(4 * dim, 4 * dim)),
            lambda a, b: ResBlock(a, b, 4 * dim, lambda i, o: NormBlock(i, o, resnet_block_groups), bias=True),
            lambda level, width: LinearAttention(width),
            Attention,
            nn.Conv2d(channels * (2 if condition else 1), first, 7, padding=3),
            PointwiseConv2d(dim, out),
            bias=True,
        )
        self.traits = dataclasses.replace(type(self).traits, size_multiple=self.unet0.traits.size_multiple)

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes.

        No key tells the groups of the norms.

        Raises:
            KeyError: The keys are another network's.
        """
        first, *widths = level_widths(state, "unet0.")
        outputs, inputs = len(state["unet0.final_conv.weight"]), state["unet0.init_conv.weight"].shape[1]
        # A state and a condition come in, unless there are as many channels as come out.
        condition = inputs != outputs
        settings = {"dim": first, "dim_mults": [whole(width, first) for width in widths], "condition": condition}
        frequencies = state.get("unet0.time_mlp.0.weights")
        if frequencies is not None:
            settings |= {"learned_sinusoidal_cond": True, "learned_sinusoidal_dim": 2 * len(frequencies)}
        channels = whole(inputs, 1 + condition)
        return {**settings, "channels": channels, "out_dim": None if outputs == channels else outputs}

    def ordered_blocks(self) -> list[str]:
        """The residual blocks, shallow to deep."""
        return [f"unet0.{name}" for name in self.unet0.ordered_blocks()]

    def conditional(self, x: Tensor, condition: Tensor, time: Tensor) -> Tensor:
        """The output (B, out_dim, H, W) for states and degraded pictures (B, channels, H, W) and one time (B,)."""
        return self(torch.cat([x, condition], 1), (time, time))[0]

    def forward(self, x: Tensor, time: Sequence[Tensor | float] = (0, 0)) -> list[Tensor]:
        """The residual or the noise.

        Args:
            x: State and degraded picture (B, 2 channels, H, W) in [-1, 1], or, without `condition`, the state alone.
                Pictures alone (B, channels, H, W) are their own condition.
            time: Two times, each one or (B,); which one counts is the objective's.

        Returns:
            One tensor (B, out_dim, H, W), in a list as published.
        """
        if self.condition and x.shape[1] == self.channels:
            x = torch.cat([x, x], 1)
        t = self.unet0.time_mlp(time_tensor(time[TIME_OF[self.objective]], x))
        return [self.unet0.run(x, t)]
