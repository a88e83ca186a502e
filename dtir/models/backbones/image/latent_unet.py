"""The autoencoder of IR-SDE's latent variant (Luo et al., "Refusion: Enabling Large-Size Realistic Image Restoration
with Latent-Space Diffusion Models", CVPR workshops 2023), with the published state-dict keys."""

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from dtir.models.backbones.parts.layers import PointwiseConv2d, channels_last, pad_to_multiple
from dtir.models.backbones.parts.reading import State, count, whole
from dtir.models.backbones.parts.time_unet import LinearAttention, PreNorm, ResBlock, Residual, upsample
from dtir.models.backbones.traits import Published, Traits
from dtir.registry import BACKBONES


def _conv(dim_in: int, dim_out: int) -> nn.Conv2d:
    return nn.Conv2d(dim_in, dim_out, 3, padding=1, bias=False)


@BACKBONES.register_module(name=["UNet", "LatentUNet"])
class LatentUNet(nn.Module):
    """A U-Net whose bottom is a latent picture: the diffusion runs on that, the skips carry the detail.

    Published as `UNet` in the latent configurations of IR-SDE. Called with a picture it encodes and decodes it.

    Args:
        in_ch: Channels of the picture.
        out_ch: Channels of the output.
        ch: Channels of the first features.
        ch_mult: Channels after each level over `ch`.
        embed_dim: Channels of the latent picture.
    """

    traits: ClassVar[Traits] = Traits(size_multiple=16, licence="MIT")
    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "irsde_latent": Published(),
        "refusion_latent": Published({"ch": 8, "ch_mult": [4, 8, 8, 16], "embed_dim": 8}),
    }

    def __init__(
        self, in_ch: int = 3, out_ch: int = 3, ch: int = 64, ch_mult: Sequence[int] = (1, 2, 4, 4), embed_dim: int = 4
    ) -> None:
        super().__init__()
        dims = [ch, *(ch * factor for factor in ch_mult)]
        last = len(ch_mult) - 1
        self.init_conv = _conv(in_ch, ch)
        self.encoder, decoder = nn.ModuleList(), []
        for level, (fine, coarse) in enumerate(itertools.pairwise(dims)):
            down = nn.Conv2d(fine, coarse, 4, 2, 1) if level < last else _conv(fine, coarse)
            up = upsample(coarse, fine) if level > 0 else _conv(coarse, fine)
            blocks = [ResBlock(fine, fine, None) for _ in range(2)]
            self.encoder.append(nn.ModuleList([*blocks, _attention(fine, level == last), down]))
            joined = [ResBlock(coarse + fine, coarse, None) for _ in range(2)]
            decoder.insert(0, nn.ModuleList([*joined, _attention(coarse, level == last), up]))
        self.decoder = nn.ModuleList(decoder)
        self.latent_conv = PointwiseConv2d(dims[-1], embed_dim, bias=False)
        self.post_latent_conv = PointwiseConv2d(embed_dim, dims[-1], bias=False)
        self.final_conv = nn.Conv2d(ch, out_ch, 3, padding=1)
        self.traits = dataclasses.replace(type(self).traits, size_multiple=2 ** len(ch_mult))

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes.

        Raises:
            KeyError: The keys are another network's.
        """
        latent, (ch, in_ch, *_) = state["latent_conv.weight"], state["init_conv.weight"].shape
        widths = [len(state[f"encoder.{level}.3.weight"]) for level in range(count(state, "encoder."))]
        return {
            "in_ch": in_ch,
            "out_ch": len(state["final_conv.weight"]),
            "ch": ch,
            "ch_mult": [whole(width, ch) for width in widths],
            "embed_dim": len(latent),
        }

    def ordered_blocks(self) -> list[str]:
        """The residual blocks, shallow to deep."""
        levels = range(len(self.encoder))
        return [f"{part}.{level}.{k}" for part in ("encoder", "decoder") for level in levels for k in range(2)]

    def encode(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Pictures (B, in_ch, H, W), H, W >= 1, to latent pictures and the features for `decode`.

        Height and width are padded to a multiple of 2^levels, by reflection; latent pictures are smaller by
        2^(levels - 1).
        """
        x = self.init_conv(channels_last(pad_to_multiple(x, self.traits.size_multiple)))
        features = [x]
        for block1, block2, attention, down in self.encoder:
            x = block1(x)
            features.append(x)
            x = attention(block2(x))
            features.append(x)
            x = down(x)
        return self.latent_conv(x), features

    def decode(self, x: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Latent pictures and the features of `encode` to pictures (B, out_ch, H, W), the padding included."""
        first, *skips = features
        x = self.post_latent_conv(x)
        for block1, block2, attention, up in self.decoder:
            x = block1(torch.cat([x, skips.pop()], 1))
            x = block2(torch.cat([x, skips.pop()], 1))
            x = up(attention(x))
        return self.final_conv(x + first)

    def forward(self, x: Tensor) -> Tensor:
        """Pictures (B, in_ch, H, W), H, W >= 1, to (B, out_ch, H, W)."""
        height, width = x.shape[-2:]
        return self.decode(*self.encode(x))[..., :height, :width]


def _attention(dim: int, wanted: bool) -> nn.Module:
    return Residual(PreNorm(dim, LinearAttention(dim))) if wanted else nn.Identity()
