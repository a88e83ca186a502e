"""StableSR's residual blocks (Wang et al., "Exploiting Diffusion Prior for Real-World Image Super-Resolution", IJCV
2024), which structure features steer, with the published state-dict keys."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from .adm_blocks import GROUPS, ResBlock, TimestepSequential
from .spatial_transformer import SpatialTransformer

SPADE_WIDTH = 128


class SPADE(nn.Module):
    """Normalised features, scaled and shifted at every pixel by other features (Park et al., CVPR 2019).

    Args:
        norm_nc: Channels of the features.
        label_nc: Channels of the others.
    """

    def __init__(self, norm_nc: int, label_nc: int) -> None:
        super().__init__()
        self.param_free_norm = nn.GroupNorm(GROUPS, norm_nc)
        self.mlp_shared = nn.Sequential(nn.Conv2d(label_nc, SPADE_WIDTH, 3, padding=1), nn.ReLU())
        self.mlp_gamma = nn.Conv2d(SPADE_WIDTH, norm_nc, 3, padding=1)
        self.mlp_beta = nn.Conv2d(SPADE_WIDTH, norm_nc, 3, padding=1)

    def forward(self, x: Tensor, structure: Tensor) -> Tensor:
        """(B, norm_nc, H, W) and (B, label_nc, H, W) to (B, norm_nc, H, W)."""
        shared = self.mlp_shared(structure)
        return torch.addcmul(self.mlp_beta(shared), self.param_free_norm(x), self.mlp_gamma(shared) + 1)


class StructuredResBlock(ResBlock):
    """A residual block whose branch ends with `SPADE`.

    Args:
        level: Whose features steer it, 0 being the finest.
        semb_channels: Their channels.
        block: Arguments of `ResBlock`.
    """

    def __init__(self, level: int, semb_channels: int, *block: object) -> None:
        super().__init__(*block)
        self.level = level
        self.spade = SPADE(self.out_layers[-1].out_channels, semb_channels)

    @override
    def forward(self, x: Tensor, emb: Tensor, structure: Sequence[Tensor] | None = None) -> Tensor:
        """As `ResBlock`; without structure features the block is Stable Diffusion's own."""
        y = self.branch(x, emb)
        if structure is not None:
            y = self.spade(y, structure[self.level])
        return self.skip_connection(self.resample(x)) + y


class StructuredSequential(TimestepSequential):
    """Layers one after the other: residual blocks get time and structure, transformers get the context."""

    @override
    def forward(self, x: Tensor, emb: Tensor, context: Tensor, structure: Sequence[Tensor] | None = None) -> Tensor:
        """(B, C, H, W), time features (B, D), context (B, M, E) and features of each level to (B, C', H', W')."""
        for layer in self:
            if isinstance(layer, StructuredResBlock):
                x = layer(x, emb, structure)
            elif isinstance(layer, SpatialTransformer):
                x = layer(x, context)
            else:
                x = layer(x)
        return x
