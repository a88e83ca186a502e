"""The generator of EnlightenGAN (Jiang et al., "EnlightenGAN: Deep Light Enhancement without Paired Supervision", IEEE
TIP 2021), with the published state-dict keys."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.layers import channels_last, reflect_pad
from dtir.models.backbones.parts.reading import State
from dtir.models.backbones.traits import CENTRED_RANGE, Published, Traits
from dtir.registry import BACKBONES

SLOPE = 0.2
LEVELS = 4
# Weights of red, green and blue in the luminance.
LUMINANCE = (0.299, 0.587, 0.114)
# Published options that change what the network computes; no published checkpoint sets them.
NOT_OFFERED = ("linear_add", "latent_threshold", "latent_norm", "linear")


@BACKBONES.register_module(name=["Unet_resize_conv", "EnlightenGAN"])
class EnlightenGAN(nn.Module):
    """A U-Net in which darkness is attention: dark places are where features pass and where light is added.

    Published as `Unet_resize_conv`. The defaults are those of the published checkpoint.

    Args:
        opt: The published options, an object or a mapping with any of the names below. None: the keywords are taken.
        skip: Factor of the input in the output, or False for none.
        self_attention: Whether features, and the input, see the attention map.
        use_norm: 1 for batch normalisation, 0 for none.
        use_avgpool: 1 for average pooling, 0 for the largest value.
        tanh: Whether what is added goes through tanh.
        times_residual: Whether what is added is multiplied by the attention map.

    Raises:
        ConfigError: An option is set that no published checkpoint uses.
    """

    traits: ClassVar[Traits] = Traits(
        input_range=CENTRED_RANGE, output_range=CENTRED_RANGE, size_multiple=2**LEVELS, tiles="exact", pictures=1
    )
    PUBLISHED: ClassVar[Mapping[str, Published]] = {"enlightengan": Published({}, 8.637)}

    def __init__(
        self,
        opt: Any = None,
        skip: float = 1.0,
        self_attention: bool = True,
        use_norm: int = 1,
        use_avgpool: int = 0,
        tanh: bool = False,
        times_residual: bool = True,
    ) -> None:
        super().__init__()
        given = {} if opt is None else dict(opt if isinstance(opt, Mapping) else vars(opt))
        unknown = [name for name in NOT_OFFERED if given.get(name)]
        if unknown:
            raise ConfigError(f"EnlightenGAN: opt sets {', '.join(unknown)}, which no published checkpoint uses.")
        # `skip=True` is how the published constructor asks for the factor in `opt`.
        self.skip = float(given.get("skip", skip)) if skip else 0.0
        self.self_attention = bool(given.get("self_attention", self_attention))
        self.use_norm = bool(given.get("use_norm", use_norm))
        self.use_tanh = bool(given.get("tanh", tanh))
        self.times_residual = bool(given.get("times_residual", times_residual))
        self.pool = F.avg_pool2d if given.get("use_avgpool", use_avgpool) else F.max_pool2d
        widths = [32 * 2**level for level in range(LEVELS + 1)]
        previous = 4 if self.self_attention else 3
        for stage, width in enumerate(widths, start=1):
            self._add_stage(stage, previous, width)
            previous = width
        for stage, width in enumerate(reversed(widths[:-1]), start=LEVELS + 2):
            setattr(self, f"deconv{stage - 1}", nn.Conv2d(2 * width, width, 3, padding=1))
            self._add_stage(stage, 2 * width, width)
        # The last convolution of all is not normalised.
        self.conv10 = nn.Conv2d(widths[0], 3, 1)
        self.apply(_init)

    def _add_stage(self, stage: int, channels: int, width: int) -> None:
        last = stage == 2 * LEVELS + 1
        for k, channels_in in ((1, channels), (2, width)):
            setattr(self, f"conv{stage}_{k}", nn.Conv2d(channels_in, width, 3, padding=1))
            if self.use_norm and not (last and k == 2):
                setattr(self, f"bn{stage}_{k}", nn.BatchNorm2d(width))

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these keys; none tells the skip and the pooling.

        Raises:
            KeyError: The keys are another network's.
        """
        return {
            "self_attention": state["conv1_1.weight"].shape[1] == 4,
            "use_norm": int("bn1_1.weight" in state),
        }

    def ordered_blocks(self) -> list[str]:
        """The second convolution of each of the nine stages."""
        return [f"conv{stage}_2" for stage in range(1, 2 * LEVELS + 2)]

    def forward(self, input: Tensor, gray: Tensor | None = None) -> tuple[Tensor, Tensor] | Tensor:
        """Dark pictures (B, 3, H, W) in [-1, 1], H, W >= 1.

        The published code halves pictures wider than 2200 pixels and enlarges the result; here they stay whole.

        Args:
            input: The pictures.
            gray: Attention (B, 1, H, W) in [0, 1], 1 where light is to be added; by default 1 minus the luminance.

        Returns:
            Lit pictures (B, 3, H, W) and what was added to the input, or the first alone without a skip.
        """
        size = input.shape[-2:]
        gray = darkness(input) if gray is None else gray
        padding = _around(*size)
        x, attention = channels_last(reflect_pad(input, padding)), reflect_pad(gray, padding)
        latent = self._latent(x, attention)
        if self.times_residual:
            latent = latent * attention
        if self.use_tanh:
            latent = latent.tanh()
        left, above = padding[0], padding[2]
        latent = latent[..., above : above + size[0], left : left + size[1]]
        return (latent + input * self.skip, latent) if self.skip else latent

    def _latent(self, x: Tensor, attention: Tensor) -> Tensor:
        if self.self_attention:
            x = torch.cat([x, attention], 1)
        skips = []
        for stage in range(1, LEVELS + 1):
            x = self._half(stage, 2, self._half(stage, 1, x))
            skips.append(x * attention if self.self_attention else x)
            x = self.pool(x, 2)
            attention = F.max_pool2d(attention, 2)
        x = self._half(LEVELS + 1, 1, x)
        x = self._half(LEVELS + 1, 2, x * attention if self.self_attention else x)
        for stage in range(LEVELS + 2, 2 * LEVELS + 2):
            x = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = torch.cat([getattr(self, f"deconv{stage - 1}")(x), skips.pop()], 1)
            x = self._half(stage, 2, self._half(stage, 1, x))
        return self.conv10(x)

    def _half(self, stage: int, k: int, x: Tensor) -> Tensor:
        x = F.leaky_relu(getattr(self, f"conv{stage}_{k}")(x), SLOPE)
        norm = getattr(self, f"bn{stage}_{k}", None)
        return x if norm is None else norm(x)


def darkness(picture: Tensor) -> Tensor:
    """1 minus the luminance, (B, 1, H, W) in [0, 1], of pictures (B, 3, H, W) in [-1, 1]."""
    weights = torch.tensor(LUMINANCE, device=picture.device, dtype=picture.dtype).view(1, 3, 1, 1)
    return 1 - ((picture + 1) * weights).sum(1, keepdim=True) / 2


def _around(height: int, width: int) -> tuple[int, int, int, int]:
    """Padding on the left, on the right, above and below; half of what is missing goes to each side."""
    columns, rows = -width % 2**LEVELS, -height % 2**LEVELS
    return columns // 2, columns - columns // 2, rows // 2, rows - rows // 2


def _init(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
