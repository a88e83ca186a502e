"""URetinex-Net (Wu et al., "URetinex-Net: Retinex-based Deep Unfolding Network for Low-light Image Enhancement", CVPR
2022), with the published state-dict keys."""

from argparse import Namespace
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.layers import channels_last
from dtir.models.backbones.parts.reading import State
from dtir.models.backbones.traits import Published, Traits
from dtir.registry import BACKBONES

WIDTH = 32
SLOPE = 0.2
# Reflectance and illumination end in a ReLU, which must not be dead in an untrained network.
POSITIVE_BIAS = 0.5


class ActivatedConv2d(nn.Conv2d):
    """A convolution that keeps the size, and a leaky ReLU. State-dict keys are `nn.Conv2d`'s.

    Args:
        in_channels: C of the input.
        out_channels: C of the output.
        kernel_size: Height and width of the kernel, odd.
        slope: That of the ReLU for negative values.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, slope: float = 0.0) -> None:
        super().__init__(in_channels, out_channels, kernel_size, padding=kernel_size // 2)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        y = super().forward(x)
        return F.leaky_relu(y, self.slope, inplace=True) if self.slope else F.relu(y, inplace=True)


class Decom(nn.Module):
    """First guess of reflectance and illumination."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels in (3, WIDTH, WIDTH):
            layers += [nn.Conv2d(channels, WIDTH, 3, padding=1), nn.LeakyReLU(SLOPE, inplace=True)]
        self.decom = nn.Sequential(*layers, nn.Conv2d(WIDTH, 4, 3, padding=1), nn.ReLU(inplace=True))
        nn.init.constant_(self.decom[6].bias, POSITIVE_BIAS)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (B, 3, H, W) to reflectance (B, 3, H, W) and illumination (B, 1, H, W), both >= 0."""
        reflectance, illumination = self.decom(x).split((3, 1), dim=1)
        return reflectance, illumination


class SELayer(nn.Module):
    """Squeeze and excitation: every channel times a gate that is computed from all channels' means.

    Args:
        channel: Channels.
        reduction: How many times fewer there are in between.
    """

    def __init__(self, channel: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = channel // reduction
        self.fc = nn.Sequential(
            nn.Linear(channel, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, channel, bias=False), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return x * self.fc(x.mean(dim=(2, 3)))[..., None, None]


class RestoreReflectance(nn.Module):
    """Restores the reflectance, guided by the illumination: the published `HalfDnCNNSE`.

    Args:
        concat_L: Whether it sees the illumination.
    """

    def __init__(self, concat_L: bool) -> None:
        super().__init__()
        self.concat_L = concat_L
        self.conv1 = ActivatedConv2d(3, WIDTH if concat_L else 2 * WIDTH, 3)
        if concat_L:
            self.conv2 = ActivatedConv2d(1, WIDTH, 3)
        self.se_layer = SELayer(2 * WIDTH)
        for k in range(3, 8):
            setattr(self, f"conv{k}", ActivatedConv2d(2 * WIDTH, 2 * WIDTH, 3))
        self.conv8 = nn.Conv2d(2 * WIDTH, 3, 3, padding=1)

    def forward(self, r: Tensor, l: Tensor) -> Tensor:  # noqa: E741 as published
        """Reflectance (B, 3, H, W) and illumination (B, 1, H, W) to the restored reflectance (B, 3, H, W)."""
        x = self.conv1(r)
        if self.concat_L:
            x = torch.cat([x, self.conv2(l)], 1)
        x = self.se_layer(x)
        for k in range(3, 8):
            x = getattr(self, f"conv{k}")(x)
        return r + self.conv8(x)


class RestoreIllumination(nn.Module):
    """Smooths the illumination: the published `Illumination_Alone`."""

    def __init__(self) -> None:
        super().__init__()
        for k, channels in enumerate((1, WIDTH, WIDTH, WIDTH), start=1):
            setattr(self, f"conv{k}", ActivatedConv2d(channels, WIDTH, 5, SLOPE))
        self.conv5 = ActivatedConv2d(WIDTH, 1, 1)
        nn.init.constant_(self.conv5.bias, POSITIVE_BIAS)

    def forward(self, l: Tensor) -> Tensor:  # noqa: E741 as published
        """Illumination (B, 1, H, W) to the smoothed one, >= 0."""
        for k in range(1, 6):
            l = getattr(self, f"conv{k}")(l)  # noqa: E741 as published
        return l


class AdjustIllumination(nn.Module):
    """Brightens the illumination by a ratio: the published `Adjust_naive`."""

    def __init__(self) -> None:
        super().__init__()
        for k, channels in enumerate((2, WIDTH, WIDTH), start=1):
            setattr(self, f"conv{k}", ActivatedConv2d(channels, WIDTH, 5, SLOPE))
        self.conv4 = ActivatedConv2d(WIDTH, 1, 5)
        nn.init.constant_(self.conv4.bias, POSITIVE_BIAS)

    def forward(self, l: Tensor, alpha: Tensor) -> Tensor:  # noqa: E741 as published
        """Illumination and ratio, both (B, 1, H, W), to the adjusted illumination (B, 1, H, W), >= 0."""
        x = channels_last(torch.cat([l, alpha], 1))
        for k in range(1, 5):
            x = getattr(self, f"conv{k}")(x)
        return x


@BACKBONES.register_module()
class URetinexNet(nn.Module):
    """URetinex-Net: a picture is reflectance times illumination, found in unfolded steps and then lit anew.

    A step solves I = P Q for P, held near the reflectance R, and for Q, held near the illumination L, in closed form;
    networks that are the same in all steps then make R of P and L of Q. Pictures of any size.

    The published program (`Inference`) keeps three checkpoints; `read_files` makes one of them.

    Args:
        round: Steps, at least 1.
        gamma: How near P is held to R.
        lamda: How near Q is held to L.
        Roffset: Added to `gamma` with every step.
        Loffset: Added to `lamda` with every step.
        concat_L: Whether the network of the reflectance sees the illumination.
        ratio: How many times brighter; the authors recommend 3 to 5.

    Raises:
        ConfigError: There is no step, or a weight is not positive.
    """

    traits: ClassVar[Traits] = Traits(size_multiple=1, pictures=1)
    PUBLISHED: ClassVar[Mapping[str, Published]] = {"uretinex": Published({}, 0.340105)}

    def __init__(
        self,
        round: int = 3,
        gamma: float = 0.1,
        lamda: float = 0.5,
        Roffset: float = 0.05,
        Loffset: float = 0.05,
        concat_L: bool = True,
        ratio: float = 5,
    ) -> None:
        super().__init__()
        if round < 1:
            raise ConfigError(f"URetinexNet: round={round}; at least 1 step is needed.")
        for name, weight in (("gamma", gamma), ("lamda", lamda)):
            if weight <= 0:
                raise ConfigError(
                    f"URetinexNet: {name}={weight} must be positive, since black pixels are divided by it."
                )
        self.round = round
        self.gamma, self.lamda = gamma, lamda
        self.Roffset, self.Loffset = Roffset, Loffset
        self.ratio = ratio
        self.model_Decom_low = Decom()
        self.model_R = RestoreReflectance(concat_L)
        self.model_L = RestoreIllumination()
        self.adjust_model = AdjustIllumination()

    # Stems of the published files, with the place of each part of the network in them.
    published_files: ClassVar = {
        "init_low.pth": {"model_Decom_low": "model_R"},
        "unfolding.pth": {"model_R": "model_R", "model_L": "model_L"},
        "L_adjust.pth": {"adjust_model": "model_A"},
    }

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these keys; none tells the weights and the ratio.

        Raises:
            KeyError: The keys are another network's.
        """
        if "model_Decom_low.decom.0.weight" not in state:
            raise KeyError("model_Decom_low.decom.0.weight")
        return {"concat_L": "model_R.conv2.weight" in state}

    @classmethod
    def read_files(cls, files: Mapping[str, Mapping]) -> tuple[dict, dict[str, Tensor]]:
        """One network's settings and state dict from the three published checkpoints.

        Args:
            files: What `torch.load` reads from init_low.pth, unfolding.pth and L_adjust.pth, by their names. The
                settings are those of `opts` in unfolding.pth.
        """
        opts = files["unfolding.pth"]["opts"]
        opts = vars(opts) if isinstance(opts, Namespace) else opts
        settings = {name: opts[name] for name in ("round", "gamma", "lamda", "Roffset", "Loffset", "concat_L")}
        state = {
            f"{part}.{key}": value
            for name, parts in cls.published_files.items()
            for part, place in parts.items()
            for key, value in files[name]["state_dict"][place].items()
        }
        return settings, state

    def ordered_blocks(self) -> list[str]:
        """The convolutions of the four networks; those of `model_R` and `model_L` are called in every step."""
        return [
            *(f"model_Decom_low.decom.{k}" for k in (2, 4)),
            *(f"model_R.conv{k}" for k in range(3, 8)),
            *(f"model_L.conv{k}" for k in (2, 3, 4)),
            *(f"adjust_model.conv{k}" for k in (2, 3)),
        ]

    def forward(self, input_low_img: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Dark pictures (B, 3, H, W) in [0, 1], H, W >= 1.

        Returns:
            The enhanced pictures (B, 3, H, W), not clipped, their reflectance (B, 3, H, W), and the illumination
            (B, 1, H, W) before the adjustment.
        """
        reflectance, illumination = self.unfold(channels_last(input_low_img))
        adjusted = self.adjust_model(illumination, torch.full_like(illumination, self.ratio))
        return adjusted * reflectance, reflectance, illumination

    def unfold(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        """Pictures (B, 3, H, W) to reflectance (B, 3, H, W) and illumination (B, 1, H, W)."""
        p, q = self.model_Decom_low(picture)
        r, l = self._restored(p, q)  # noqa: E741 as in the paper
        for step in range(1, self.round):
            p = _solve_p(picture, _channels_last_plane(q), r, self.gamma + self.Roffset * step)
            q = _solve_q(picture, p, l, self.lamda + self.Loffset * step)
            r, l = self._restored(p, q)  # noqa: E741 as in the paper
        return r, l

    def _restored(self, p: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
        q = _channels_last_plane(q)
        return self.model_R(p, q), self.model_L(q)


def _solve_p(picture: Tensor, q: Tensor, r: Tensor, weight: float) -> Tensor:
    """The P that minimises |I - P Q|^2 + weight |P - R|^2, at every pixel and channel."""
    return torch.addcmul(weight * r, picture, q) / (q.square() + weight)


def _solve_q(picture: Tensor, p: Tensor, l: Tensor, weight: float) -> Tensor:  # noqa: E741 as in the paper
    """The Q that minimises |I - P Q|^2 + weight |Q - L|^2, at every pixel; the channels share it."""
    above = (picture * p).sum(1, keepdim=True) + weight * l
    return above / (p.square().sum(1, keepdim=True) + weight)


def _channels_last_plane(x: Tensor) -> Tensor:
    """(B, 1, H, W) with the strides of a channels-last picture.

    One channel has both memory formats at once, and a convolution takes it for the slower one, its output with it.
    """
    return x.contiguous()[:, 0, :, :, None].permute(0, 3, 1, 2)
