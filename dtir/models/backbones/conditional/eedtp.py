"""The network released with the method (Lu et al., arXiv 2506.21722), with the published state-dict keys.

Written after the facts about it that docs/method.md lists; its code has no licence and was not read.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from dtir.models.backbones.parts.reading import State, count, whole
from dtir.models.backbones.parts.time_unet import time_tensor
from dtir.models.backbones.traits import Published, Traits
from dtir.registry import BACKBONES

from .conditional_nafnet import TimeNAFNet

LEAST_HIDDEN = 16
RELEASE = "released with arXiv 2506.21722"


class DenseExperts(nn.Module):
    """Adds to features the mixture of all experts, by a router that reads the features' means and the time step.

    Unlike `MoEAdapter` every expert is computed for every sample, and the router sees the picture as well. The mixture
    is multiplied by `scale`, 0 at first.

    Args:
        channels: C.
        num_experts: Experts: two 3x3 convolutions and a 1x1 one with GELU between them.
        T: Largest time step.
        reduction: The experts have C / reduction channels inside, at least 16.
    """

    def __init__(self, channels: int, num_experts: int, T: int, reduction: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, LEAST_HIDDEN)
        self.experts = nn.ModuleList(_expert(channels, hidden) for _ in range(num_experts))
        self.time_emb = nn.Embedding(T + 1, channels)
        self.router = nn.Sequential(nn.Linear(2 * channels, channels), nn.GELU(), nn.Linear(channels, num_experts))
        self.scale = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Features (B, C, H, W) and time steps (B,) in 0..T, rounded where they are fractions, to the same shape."""
        seen = torch.cat([x.mean((2, 3)), self.time_emb(t.round().long())], dim=1)
        shares = self.router(seen).softmax(1)
        mixture = sum(
            share[:, None, None, None] * expert(x) for share, expert in zip(shares.unbind(1), self.experts, strict=True)
        )
        return x + self.scale * mixture


def _expert(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, hidden, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(hidden, hidden, 3, padding=1),
        nn.GELU(),
        nn.Conv2d(hidden, channels, 1),
    )


@BACKBONES.register_module()
class EEDTPRestorationNet(TimeNAFNet):
    """The released network: a U-Net of NAFNet blocks that reads the time step and returns the residual.

    Released sizes: width 48, encoder [2, 2, 4, 28], middle 6, decoder [2, 2, 2, 2], 68.28 M parameters; 74.76 M with
    ten experts after each level on the way up.

    Args:
        img_channel: Channels of the picture.
        width: Channels of the first level; they double at every level down.
        middle_blk_num: Blocks at the lowest level.
        enc_blk_nums: Blocks of each level on the way down.
        dec_blk_nums: Blocks of each level on the way up, lowest first.
        adapters: `num_experts`, `T` and `reduction` of the `DenseExperts` of each level on the way up, by default 10,
            50 and 4; None for none.
    """

    traits: ClassVar[Traits] = dataclasses.replace(TimeNAFNet.traits, residual=True, licence="")
    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "eedtp": Published({}, 68.28, RELEASE),
        "eedtp_adapters": Published({"adapters": {"num_experts": 10, "T": 50, "reduction": 4}}, 74.76, RELEASE),
    }

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 48,
        middle_blk_num: int = 6,
        enc_blk_nums: Sequence[int] = (2, 2, 4, 28),
        dec_blk_nums: Sequence[int] = (2, 2, 2, 2),
        adapters: dict | None = None,
    ) -> None:
        super().__init__(img_channel, img_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums)
        if adapters is not None:
            settings = {"num_experts": 10, "T": 50, "reduction": 4, **adapters}
            levels = [width * 2**depth for depth in reversed(range(len(dec_blk_nums)))]
            self.moe_adapters = nn.ModuleList(
                nn.ModuleDict({"adapter": DenseExperts(channels, **settings)}) for channels in levels
            )

    @classmethod
    @override
    def settings_of(cls, state: State) -> dict:
        """With the adapters."""
        settings, adapter = super().settings_of(state), "moe_adapters.0.adapter"
        if f"{adapter}.scale" not in state:
            return settings
        hidden, channels = state[f"{adapter}.experts.0.0.weight"].shape[:2]
        adapters = {
            "num_experts": count(state, f"{adapter}.experts."),
            "T": len(state[f"{adapter}.time_emb.weight"]) - 1,
            "reduction": whole(channels, hidden),
        }
        return {**settings, "adapters": adapters}

    def forward(self, x: Tensor, time: Tensor | float = 0) -> Tensor:
        """The residual r; the restored pictures are x - r.

        Args:
            x: Pictures (B, img_channel, H, W) in [0, 1], H, W >= 1; noised ones go beyond.
            time: Time steps, one or (B,).

        Returns:
            (B, img_channel, H, W).
        """
        height, width = x.shape[-2:]
        t = time_tensor(time, x).expand(len(x))
        adapt = partial(self._adapted, t) if hasattr(self, "moe_adapters") else None
        return self.run(self.padded(x), self.time_mlp(t), adapt=adapt)[..., :height, :width]

    def _adapted(self, t: Tensor, level: int, x: Tensor) -> Tensor:
        return self.moe_adapters[level]["adapter"](x, t)
