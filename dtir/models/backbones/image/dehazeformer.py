"""DehazeFormer (Song et al., "Vision Transformers for Single Image Dehazing", TIP 2023), with the published keys."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.layers import (
    PointwiseConv2d,
    ReflectConv2d,
    channels_last,
    pad_to_multiple,
    reflect_pad,
)
from dtir.models.backbones.parts.reading import State, count, factor, root
from dtir.models.backbones.parts.window_attention import attend_in_windows
from dtir.models.backbones.traits import CENTRED_RANGE, Published, Traits
from dtir.registry import BACKBONES

CONV_TYPES = (None, "Conv", "DWConv")
META_WIDTH = 256
LAYERS = ("layer1", "layer2", "layer3", "layer4", "layer5")
# Heads of layers without attention, of which nothing is in a state dict: the published ones.
HEADS = (2, 4, 6, 1, 1)
WINDOW = 8
WIDE = {"embed_dims": [48, 96, 192, 96, 48]}
CONV = {"conv_type": ["Conv"] * 5}


class RLN(nn.Module):
    """Rescale layer normalisation over channels and pixels: gives back what the mean and the deviation were (eq. 4-6).

    Args:
        dim: Channels.
        eps: Added to the variance.
    """

    def __init__(self, dim: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(1, dim, 1, 1))
        self.bias = nn.Parameter(torch.zeros(1, dim, 1, 1))
        self.meta1 = nn.Conv2d(1, dim, 1)
        self.meta2 = nn.Conv2d(1, dim, 1)
        for meta, start in ((self.meta1, 1.0), (self.meta2, 0.0)):
            nn.init.trunc_normal_(meta.weight, std=0.02)
            nn.init.constant_(meta.bias, start)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, C, H, W) to the same shape, and a factor and a summand (B, C, 1, 1) for what is made of it."""
        variance, mean = torch.var_mean(x.float(), dim=(1, 2, 3), correction=0, keepdim=True)
        deviation = (variance + self.eps).sqrt()
        gain = self.weight / deviation
        out = torch.addcmul(self.bias - mean * gain, x, gain).to(x.dtype)
        return out, self.meta1(deviation.to(x.dtype)), self.meta2(mean.to(x.dtype))


class Mlp(nn.Module):
    """A feed-forward part of 1x1 convolutions.

    Args:
        dim: Channels.
        hidden: Hidden channels.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(PointwiseConv2d(dim, hidden), nn.ReLU(), PointwiseConv2d(hidden, dim))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        return self.mlp(x)


class WindowBias(nn.Module):
    """The bias of the logits by the logarithm of the distance, through a small network.

    Args:
        window_size: Side of the windows.
        num_heads: Heads.
    """

    def __init__(self, window_size: int, num_heads: int) -> None:
        super().__init__()
        axis = torch.arange(window_size)
        place = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).flatten(1)
        distance = (place[:, :, None] - place[:, None, :]).permute(1, 2, 0).float()
        self.register_buffer("relative_positions", distance.sign() * (1 + distance.abs()).log())
        self.meta = nn.Sequential(nn.Linear(2, META_WIDTH), nn.ReLU(), nn.Linear(META_WIDTH, num_heads))

    def forward(self) -> Tensor:
        """(heads, side^2, side^2)."""
        return self.meta(self.relative_positions).permute(2, 0, 1)


class Attention(nn.Module):
    """Attention within windows beside a convolution of the values (section III-C).

    Windows are shifted with a mirrored border, not cyclically, so that nothing has to be masked.

    Args:
        dim: Channels.
        num_heads: Heads.
        window_size: Side of the windows.
        shift_size: By how many pixels the windows are shifted.
        use_attn: Whether there is attention.
        conv_type: "Conv", "DWConv" or None.
    """

    def __init__(
        self, dim: int, num_heads: int, window_size: int, shift_size: int, use_attn: bool, conv_type: str | None
    ) -> None:
        super().__init__()
        self.num_heads, self.window_size, self.shift = num_heads, window_size, shift_size
        self.use_attn, self.conv_type = use_attn, conv_type
        if conv_type == "Conv":
            self.conv = nn.Sequential(ReflectConv2d(dim, dim, 3), nn.ReLU(), ReflectConv2d(dim, dim, 3))
        if conv_type == "DWConv":
            self.conv = ReflectConv2d(dim, dim, 5, groups=dim)
        if conv_type == "DWConv" or use_attn:
            self.V = PointwiseConv2d(dim, dim)
            self.proj = PointwiseConv2d(dim, dim)
        if use_attn:
            self.QK = PointwiseConv2d(dim, 2 * dim)
            self.attn = WindowBias(window_size, num_heads)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        if not self.use_attn:
            return self.conv(x) if self.conv_type == "Conv" else self.proj(self.conv(self.V(x)))
        values = self.V(x)
        out = self._attend(torch.cat([self.QK(x), values], 1))
        return self.proj(out if self.conv_type is None else out + self.conv(values))

    def _attend(self, qkv: Tensor) -> Tensor:
        """(B, 3 C, H, W) to (B, C, H, W)."""
        height, width = qkv.shape[-2:]
        after = [-(side + self.shift) % self.window_size for side in (width, height)]
        padded = reflect_pad(qkv, (self.shift, after[0], self.shift, after[1]))
        out = attend_in_windows(padded.permute(0, 2, 3, 1), self.window_size, self.num_heads, self.attn())
        return out[:, self.shift : self.shift + height, self.shift : self.shift + width].permute(0, 3, 1, 2)


class TransformerBlock(nn.Module):
    """Attention or convolution, and a feed-forward part.

    Args:
        dim: Channels.
        num_heads: Heads.
        mlp_ratio: Hidden channels of the feed-forward part over `dim`.
        window_size: Side of the windows.
        shift_size: By how many pixels the windows are shifted.
        use_attn: Whether there is attention, and the norm before it.
        conv_type: "Conv", "DWConv" or None.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: float,
        window_size: int,
        shift_size: int,
        use_attn: bool,
        conv_type: str | None,
    ) -> None:
        super().__init__()
        self.norm1 = RLN(dim) if use_attn else nn.Identity()
        self.attn = Attention(dim, num_heads, window_size, shift_size, use_attn, conv_type)
        self.mlp = Mlp(dim, int(dim * mlp_ratio))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        if self.attn.use_attn:
            y, rescale, rebias = self.norm1(x)
            x = torch.addcmul(x + rebias, self.attn(y), rescale)
        else:
            x = x + self.attn(x)
        return x + self.mlp(x)


class SKFusion(nn.Module):
    """Two feature maps, added with weights that depend on their sum.

    Args:
        dim: Channels.
        height: 2, how many maps.
        reduction: Channels over those of the bottleneck, which has at least 4.
    """

    def __init__(self, dim: int, height: int = 2, reduction: int = 8) -> None:
        super().__init__()
        hidden = max(dim // reduction, 4)
        self.mlp = nn.Sequential(
            nn.Conv2d(dim, hidden, 1, bias=False), nn.ReLU(), nn.Conv2d(hidden, height * dim, 1, bias=False)
        )

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """(B, C, H, W) twice to (B, C, H, W)."""
        squeezed = first.mean((2, 3), keepdim=True) + second.mean((2, 3), keepdim=True)
        weights = self.mlp(squeezed).unflatten(1, (2, -1)).softmax(1)
        return torch.addcmul(first * weights[:, 0], second, weights[:, 1])


@BACKBONES.register_module()
class DehazeFormer(nn.Module):
    """DehazeFormer: a three-level U-Net of transformer blocks that ends in `K x - B + x`.

    Pictures are in [-1, 1]. The published sizes are t, s, b, d, w, m and l.

    Args:
        in_chans: Channels of the picture.
        out_chans: Channels of K and B together.
        window_size: Side of the windows.
        embed_dims: Channels of the five layers.
        mlp_ratios: Hidden channels of the feed-forward parts over those.
        depths: Blocks of the five layers.
        num_heads: Heads of the five layers.
        attn_ratio: Share of a layer's blocks, its last ones, that have attention.
        conv_type: "Conv", "DWConv" or None, for the five layers.

    Raises:
        ConfigError: A list does not have five entries, or the skips do not fit.
    """

    traits: ClassVar[Traits] = Traits(
        input_range=CENTRED_RANGE, output_range=CENTRED_RANGE, size_multiple=4, licence="MIT"
    )
    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "dehazeformer_t": Published({"depths": [4, 4, 4, 2, 2], "attn_ratio": [0, 0.5, 1, 0, 0]}, 0.687),
        "dehazeformer_s": Published({"depths": [8, 8, 8, 4, 4]}, 1.28),
        "dehazeformer_b": Published({}, 2.52),
        "dehazeformer_d": Published({"depths": [32, 32, 32, 16, 16]}, 4.98),
        "dehazeformer_w": Published(WIDE, 9.69),
        "dehazeformer_m": Published({"depths": [12, 12, 12, 6, 6], **CONV}, 4.64),
        "dehazeformer_l": Published({"depths": [16, 16, 16, 12, 12], **WIDE, **CONV}, 25.45),
    }

    def __init__(
        self,
        in_chans: int = 3,
        out_chans: int = 4,
        window_size: int = WINDOW,
        embed_dims: Sequence[int] = (24, 48, 96, 48, 24),
        mlp_ratios: Sequence[float] = (2.0, 4.0, 4.0, 2.0, 2.0),
        depths: Sequence[int] = (16, 16, 16, 8, 8),
        num_heads: Sequence[int] = HEADS,
        attn_ratio: Sequence[float] = (1 / 4, 1 / 2, 3 / 4, 0, 0),
        conv_type: Sequence[str | None] = ("DWConv",) * 5,
    ) -> None:
        super().__init__()
        lists = {"embed_dims": embed_dims, "mlp_ratios": mlp_ratios, "depths": depths, "num_heads": num_heads}
        for name, values in {**lists, "attn_ratio": attn_ratio, "conv_type": conv_type}.items():
            if len(values) != 5:
                raise ConfigError(f"DehazeFormer: {name}={list(values)} must have 5 entries, one per layer.")
        if list(embed_dims[:2]) != list(embed_dims[:2:-1]) or set(conv_type) - set(CONV_TYPES):
            raise ConfigError(
                f"DehazeFormer: embed_dims={list(embed_dims)} must be the same from both ends, and "
                f"conv_type={list(conv_type)} of 'Conv', 'DWConv' and None."
            )
        for k, (dim, depth) in enumerate(zip(embed_dims, depths, strict=True)):
            blocks = [
                TransformerBlock(
                    dim,
                    num_heads[k],
                    mlp_ratios[k],
                    window_size,
                    window_size // 2 if i % 2 else 0,
                    i >= depth - attn_ratio[k] * depth,
                    conv_type[k],
                )
                for i in range(depth)
            ]
            setattr(self, f"layer{k + 1}", nn.ModuleDict({"blocks": nn.Sequential(*blocks)}))
        first, second, third = embed_dims[:3]
        self.patch_embed = nn.ModuleDict({"proj": ReflectConv2d(in_chans, first, 3)})
        self.patch_merge1 = nn.ModuleDict({"proj": nn.Conv2d(first, second, 2, stride=2)})
        self.patch_merge2 = nn.ModuleDict({"proj": nn.Conv2d(second, third, 2, stride=2)})
        self.skip1, self.skip2 = PointwiseConv2d(first, first), PointwiseConv2d(second, second)
        self.patch_split1 = nn.ModuleDict({"proj": _split(third, second)})
        self.patch_split2 = nn.ModuleDict({"proj": _split(second, first)})
        self.fusion1, self.fusion2 = SKFusion(second), SKFusion(first)
        self.patch_unembed = nn.ModuleDict({"proj": nn.Sequential(ReflectConv2d(first, out_chans, 3))})

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes.

        Raises:
            KeyError: The keys are another network's.
        """
        mlps = [state[f"{layer}.blocks.0.mlp.mlp.0.weight"] for layer in LAYERS]
        depths = [count(state, f"{layer}.blocks.") for layer in LAYERS]
        return {
            "in_chans": state["patch_embed.proj.weight"].shape[1],
            "out_chans": len(state["patch_unembed.proj.0.weight"]),
            "window_size": _window_size(state),
            "embed_dims": [weight.shape[1] for weight in mlps],
            "mlp_ratios": [factor([(weight.shape[1], weight.shape[0])]) for weight in mlps],
            "depths": depths,
            "num_heads": [_heads(state, *each) for each in zip(LAYERS, depths, HEADS, strict=True)],
            "attn_ratio": [_attention_blocks(state, *each) / each[1] for each in zip(LAYERS, depths, strict=True)],
            "conv_type": [_conv_type(state, layer) for layer in LAYERS],
        }

    def ordered_blocks(self) -> list[str]:
        """The transformer blocks, shallow to deep."""
        return [f"{name}.blocks.{i}" for name in LAYERS for i in range(len(getattr(self, name)["blocks"]))]

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_chans, H, W) in [-1, 1], H, W >= 1, to the same shape; the values are not clipped."""
        height, width = x.shape[-2:]
        picture = channels_last(pad_to_multiple(x, self.traits.size_multiple))
        level1 = self.layer1["blocks"](self.patch_embed["proj"](picture))
        level2 = self.layer2["blocks"](self.patch_merge1["proj"](level1))
        x = self.layer3["blocks"](self.patch_merge2["proj"](level2))
        x = self.patch_split1["proj"](x)
        x = self.layer4["blocks"](self.fusion1(x, self.skip2(level2)) + x)
        x = self.patch_split2["proj"](x)
        x = self.layer5["blocks"](self.fusion2(x, self.skip1(level1)) + x)
        gain, offset = self.patch_unembed["proj"](x).split((1, picture.shape[1]), dim=1)
        return (gain * picture - offset + picture)[..., :height, :width]


def _attention_blocks(state: State, layer: str, depth: int) -> int:
    return sum(f"{layer}.blocks.{i}.attn.QK.weight" in state for i in range(depth))


def _heads(state: State, layer: str, depth: int, default: int) -> int:
    # The last blocks of a layer are those with attention.
    bias = state.get(f"{layer}.blocks.{depth - 1}.attn.attn.meta.2.bias")
    return default if bias is None else len(bias)


def _window_size(state: State) -> int:
    positions = [value for key, value in state.items() if key.endswith("attn.attn.relative_positions")]
    return root(len(positions[0])) if positions else WINDOW


def _conv_type(state: State, layer: str) -> str | None:
    if f"{layer}.blocks.0.attn.conv.0.weight" in state:
        return "Conv"
    return "DWConv" if f"{layer}.blocks.0.attn.conv.weight" in state else None


def _split(coarse: int, fine: int) -> nn.Sequential:
    return nn.Sequential(PointwiseConv2d(coarse, 4 * fine), nn.PixelShuffle(2))
