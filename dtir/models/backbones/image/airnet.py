"""AirNet (Li et al., "All-In-One Image Restoration for Unknown Corruption", CVPR 2022), with the published keys."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.models.backbones.parts.deform_conv import DCNLayer
from dtir.models.backbones.parts.layers import PointwiseConv2d, channels_last
from dtir.models.backbones.parts.reading import State, count, whole
from dtir.models.backbones.traits import Published, Traits
from dtir.registry import BACKBONES

SLOPE = 0.1
# Degradations of the all-in-one checkpoint, one of each in a batch.
ALL_IN_ONE = 5


def _conv(in_channels: int, out_channels: int, kernel_size: int = 3) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2)


class SFTLayer(nn.Module):
    """Scales and shifts features by what a map of the degradation says at each pixel.

    Args:
        channels_in: C of the map.
        channels_out: C of the features.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv_gamma = self._branch(channels_in, channels_out)
        self.conv_beta = self._branch(channels_in, channels_out)

    @staticmethod
    def _branch(channels_in: int, channels_out: int) -> nn.Sequential:
        return nn.Sequential(
            PointwiseConv2d(channels_in, channels_out, bias=False),
            nn.LeakyReLU(SLOPE, inplace=True),
            PointwiseConv2d(channels_out, channels_out, bias=False),
        )

    def forward(self, x: Tensor, inter: Tensor) -> Tensor:
        """Features (B, channels_out, H, W) and the map (B, channels_in, H, W) to the features' shape."""
        return torch.addcmul(self.conv_beta(inter), x, self.conv_gamma(inter))


class DGM(nn.Module):
    """Degradation-guided module: a deformable convolution and a scaling, both steered by the degradation (eq. 6).

    Args:
        channels_in: C of features and map.
        channels_out: The same number.
        kernel_size: Kernel size of the deformable convolution.
    """

    def __init__(self, channels_in: int, channels_out: int, kernel_size: int) -> None:
        super().__init__()
        self.dcn = DCNLayer(channels_in, channels_out, kernel_size, padding=(kernel_size - 1) // 2, bias=False)
        self.sft = SFTLayer(channels_in, channels_out)

    def forward(self, x: Tensor, inter: Tensor) -> Tensor:
        """Features and map (B, C, H, W) to the same shape."""
        return x + (self.dcn(x, inter) + self.sft(x, inter))


class DGB(nn.Module):
    """Degradation-guided block: two modules and two convolutions with a skip.

    Args:
        n_feat: C.
        kernel_size: Kernel size of all convolutions.
    """

    def __init__(self, n_feat: int, kernel_size: int) -> None:
        super().__init__()
        self.dgm1 = DGM(n_feat, n_feat, kernel_size)
        self.dgm2 = DGM(n_feat, n_feat, kernel_size)
        self.conv1 = _conv(n_feat, n_feat, kernel_size)
        self.conv2 = _conv(n_feat, n_feat, kernel_size)
        self.relu = nn.LeakyReLU(SLOPE, inplace=True)

    def forward(self, x: Tensor, inter: Tensor) -> Tensor:
        """Features and map (B, C, H, W) to the same shape."""
        y = self.relu(self.conv1(self.relu(self.dgm1(x, inter))))
        return self.conv2(self.relu(self.dgm2(y, inter))) + x


class DGG(nn.Module):
    """Degradation-guided group: blocks and a convolution, with a skip.

    Args:
        n_feat: C.
        kernel_size: Kernel size of all convolutions.
        n_blocks: How many blocks.
    """

    def __init__(self, n_feat: int, kernel_size: int, n_blocks: int) -> None:
        super().__init__()
        blocks = [DGB(n_feat, kernel_size) for _ in range(n_blocks)]
        self.body = nn.Sequential(*blocks, _conv(n_feat, n_feat, kernel_size))

    def forward(self, x: Tensor, inter: Tensor) -> Tensor:
        """Features and map (B, C, H, W) to the same shape."""
        y = x
        for block in self.body[:-1]:
            y = block(y, inter)
        return self.body[-1](y) + x


class DGRN(nn.Module):
    """Degradation-guided restoration network: groups between two convolutions.

    Args:
        n_groups: How many groups.
        n_blocks: Blocks of each.
        n_feats: C.
    """

    def __init__(self, n_groups: int = 5, n_blocks: int = 5, n_feats: int = 64) -> None:
        super().__init__()
        self.head = nn.Sequential(_conv(3, n_feats))
        groups = [DGG(n_feats, 3, n_blocks) for _ in range(n_groups)]
        self.body = nn.Sequential(*groups, _conv(n_feats, n_feats))
        self.tail = nn.Sequential(_conv(n_feats, 3))

    def forward(self, x: Tensor, inter: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) and maps (B, n_feats, H, W) to pictures."""
        x = self.head(x)
        y = x
        for group in self.body[:-1]:
            y = group(y, inter)
        return self.tail(self.body[-1](y) + x)


class ResBlock(nn.Module):
    """Two convolutions and a projected skip, with batch normalisation.

    Args:
        in_feat: C of the input.
        out_feat: C of the output.
        stride: Stride of the first convolution and the skip.
    """

    def __init__(self, in_feat: int, out_feat: int, stride: int = 1) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(in_feat, out_feat, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_feat),
            nn.LeakyReLU(SLOPE, inplace=True),
            nn.Conv2d(out_feat, out_feat, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_feat),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(in_feat, out_feat, 1, stride, bias=False), nn.BatchNorm2d(out_feat))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_feat, H, W) to (B, out_feat, H / stride, W / stride), rounded up."""
        return F.leaky_relu_(self.backbone(x) + self.shortcut(x), SLOPE)


class ResEncoder(nn.Module):
    """Encoder of the degradation: a map for the restoration, and a vector for the contrast.

    Args:
        n_feats: C of the map; the vector has 4 times as many.
    """

    def __init__(self, n_feats: int = 64) -> None:
        super().__init__()
        dim = 4 * n_feats
        self.E_pre = ResBlock(3, n_feats)
        self.E = nn.Sequential(
            ResBlock(n_feats, 2 * n_feats, stride=2), ResBlock(2 * n_feats, dim, stride=2), nn.AdaptiveAvgPool2d(1)
        )
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.LeakyReLU(SLOPE, inplace=True), nn.Linear(dim, dim))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Pictures (B, 3, H, W) to embedding and projection (B, 4 * n_feats) and map (B, n_feats, H, W)."""
        inter = self.E_pre(x)
        embedding = self.E(inter).flatten(1)
        return embedding, self.mlp(embedding), inter


class MoCo(nn.Module):
    """Momentum contrast (He et al., CVPR 2020): a query is to be like its key, and unlike those of earlier batches.

    Args:
        n_feats: As in `ResEncoder`.
        K: Keys that are kept.
        m: Share of the key encoder that is kept in each step; the rest is the query encoder's.
        T: Temperature of the logits.
    """

    def __init__(self, n_feats: int, K: int, m: float = 0.999, T: float = 0.07) -> None:
        super().__init__()
        self.K, self.m, self.T = K, m, T
        self.encoder_q, self.encoder_k = ResEncoder(n_feats), ResEncoder(n_feats)
        self.encoder_k.load_state_dict(self.encoder_q.state_dict())
        self.encoder_k.requires_grad_(False)
        self.register_buffer("queue", F.normalize(torch.randn(4 * n_feats, K), dim=0))
        self.register_buffer("queue_ptr", torch.zeros(1, dtype=torch.long))

    @torch.no_grad()
    def _keys(self, pictures: Tensor) -> Tensor:
        """Unit vectors (B, 4 * n_feats), of a key encoder that has followed the query encoder by one step."""
        for key, query in zip(self.encoder_k.parameters(), self.encoder_q.parameters(), strict=True):
            key.mul_(self.m).add_(query, alpha=1 - self.m)
        return F.normalize(self.encoder_k(pictures)[1], dim=1)

    @torch.no_grad()
    def _enqueue(self, keys: Tensor) -> None:
        """Puts keys in the place of the oldest."""
        places = (self.queue_ptr + torch.arange(len(keys), device=keys.device)) % self.K
        self.queue.index_copy_(1, places, keys.t().to(self.queue.dtype))
        self.queue_ptr.add_(len(keys)).remainder_(self.K)

    def forward(self, im_q: Tensor, im_k: Tensor | None = None) -> tuple[Tensor, ...]:
        """Query pictures and, in training, pictures with the same degradation as keys, both (B, 3, H, W).

        Returns:
            Embedding (B, 4 * n_feats), logits (B, 1 + K), labels (B) and map (B, n_feats, H, W) in training with keys;
            else embedding and map.
        """
        embedding, projection, inter = self.encoder_q(im_q)
        if not self.training or im_k is None:
            return embedding, inter
        query, keys = F.normalize(projection, dim=1), self._keys(im_k)
        alike = (query * keys).sum(1, keepdim=True)
        logits = torch.cat([alike, query @ self.queue.clone()], dim=1) / self.T
        labels = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        self._enqueue(keys)
        return embedding, logits, labels, inter


class CBDE(nn.Module):
    """Contrastive-based degradation encoder.

    Args:
        batch_size: Keys in the queue over the length of a key.
        n_feats: As in `ResEncoder`.
    """

    def __init__(self, batch_size: int, n_feats: int = 64) -> None:
        super().__init__()
        self.E = MoCo(n_feats, K=batch_size * 4 * n_feats)

    def forward(self, x_query: Tensor, x_key: Tensor | None = None) -> tuple[Tensor, ...]:
        """What `MoCo` makes of the pictures."""
        return self.E(x_query, x_key)

    def degradation_map(self, x: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) to the map (B, n_feats, H, W) alone, without the rest of the encoder."""
        return self.E.encoder_q.E_pre(x)


@BACKBONES.register_module()
class AirNet(nn.Module):
    """AirNet: an encoder of the degradation, trained by contrast, steers a network of deformable convolutions.

    Args:
        opt: The published options, an object or a mapping with `batch_size`. None: the keyword is taken.
        batch_size: Length of the queue of keys over the length of a key. In the published code the number of
            degradations: 5 in the all-in-one checkpoint, 3 in that for denoising, 1 in those for one degradation.
        n_groups: Groups of the restoration network.
        n_blocks: Blocks of each group.
        n_feats: Channels of the restoration network.

    Raises:
        ConfigError: `opt` has no `batch_size`, or it is not positive.
    """

    # Any height and width.
    traits: ClassVar[Traits] = Traits(size_multiple=1, tiles="exact")
    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "airnet": Published({"batch_size": ALL_IN_ONE}, 8.93, "published code; all-in-one checkpoint"),
        "airnet_denoising": Published({"batch_size": 3}, 8.93),
        "airnet_one_task": Published({"batch_size": 1}, 8.93),
    }

    def __init__(
        self,
        opt: Any = None,
        batch_size: int = ALL_IN_ONE,
        n_groups: int = 5,
        n_blocks: int = 5,
        n_feats: int = 64,
    ) -> None:
        super().__init__()
        batch_size = batch_size if opt is None else _published_batch_size(opt)
        if batch_size < 1:
            raise ConfigError(f"AirNet: batch_size={batch_size} must be positive: the number of degradations.")
        self.R = DGRN(n_groups, n_blocks, n_feats)
        self.E = CBDE(batch_size, n_feats)

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes.

        Raises:
            KeyError: The keys are another network's.
        """
        length, keys = state["E.E.queue"].shape
        return {
            "batch_size": whole(keys, length),
            "n_groups": count(state, "R.body.") - 1,
            "n_blocks": count(state, "R.body.0.body.") - 1,
            "n_feats": len(state["R.head.0.weight"]),
        }

    def ordered_blocks(self) -> list[str]:
        """Names of the degradation-guided blocks: R.body.0.body.0, ..."""
        return [f"R.body.{i}.body.{k}" for i, group in enumerate(self.R.body[:-1]) for k in range(len(group.body) - 1)]

    def forward(self, x_query: Tensor, x_key: Tensor | None = None) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        """Restores pictures (B, 3, H, W) in [0, 1], H, W >= 1.

        Args:
            x_query: The pictures.
            x_key: Other pictures with the same degradations, for the contrast in training; else without effect.

        Returns:
            Restored pictures (B, 3, H, W), not clipped; in training mode with `x_key` also logits (B, 1 + keys) and
            labels (B) of the contrast.
        """
        x_query = channels_last(x_query)
        if not self.training or x_key is None:
            return self.R(x_query, self.E.degradation_map(x_query))
        _, logits, labels, inter = self.E(x_query, channels_last(x_key))
        return self.R(x_query, inter), logits, labels


def _published_batch_size(opt: Any) -> int:
    found = opt.get("batch_size") if isinstance(opt, Mapping) else getattr(opt, "batch_size", None)
    if found is None:
        raise ConfigError(f"AirNet: opt={opt!r} has no batch_size; give one, or AirNet(batch_size=...) without opt.")
    return found
