"""The transformer in the levels of latent diffusion's U-Net (Rombach et al., "High-Resolution Image Synthesis with
Latent Diffusion Models", CVPR 2022), and in DA-CLIP's, with the published state-dict keys."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from .adm_blocks import GROUPS, zeroed


class CrossAttention(nn.Module):
    """Attention of tokens to others, or among themselves.

    Args:
        query_dim: Channels of the tokens.
        context_dim: Channels of the others; None where there are none.
        heads: Heads.
        dim_head: Channels of a head.
    """

    def __init__(self, query_dim: int, context_dim: int | None, heads: int, dim_head: int) -> None:
        super().__init__()
        inner, context_dim = heads * dim_head, context_dim or query_dim
        self.heads = heads
        self.to_q = nn.Linear(query_dim, inner, bias=False)
        self.to_k = nn.Linear(context_dim, inner, bias=False)
        self.to_v = nn.Linear(context_dim, inner, bias=False)
        self.to_out = nn.Sequential(nn.Linear(inner, query_dim))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Tokens (B, N, query_dim), and others (B, M, context_dim), to (B, N, query_dim).

        Of one other the result is the same for all tokens, and (B, 1, query_dim).
        """
        context = x if context is None else context
        if context.shape[1] == 1:
            # There is nothing to choose from: the only weight is 1.
            return self.to_out(self.to_v(context))
        q, k, v = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for part in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class GEGLU(nn.Module):
    """A linear layer whose one half gates the other.

    Args:
        dim: Channels.
        hidden: Channels of the output.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.proj = nn.Linear(dim, 2 * hidden)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, dim) to (B, N, hidden)."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        return value * F.gelu(gate)


class FeedForward(nn.Module):
    """Two layers with a gate between them.

    Args:
        dim: Channels.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.net = nn.Sequential(GEGLU(dim, 4 * dim), nn.Identity(), nn.Linear(4 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, dim) to the same shape."""
        return self.net(x)


class TransformerBlock(nn.Module):
    """Attention among the tokens, attention to a context, and a feed-forward part.

    Args:
        dim: Channels.
        heads: Heads.
        dim_head: Channels of a head.
        context_dim: Channels of the context.
        disable_self_attn: Whether the first attention goes to the context too.
    """

    def __init__(
        self, dim: int, heads: int, dim_head: int, context_dim: int | None, disable_self_attn: bool = False
    ) -> None:
        super().__init__()
        self.disable_self_attn = disable_self_attn
        self.attn1 = CrossAttention(dim, context_dim if disable_self_attn else None, heads, dim_head)
        self.ff = FeedForward(dim)
        self.attn2 = CrossAttention(dim, context_dim, heads, dim_head)
        self.norm1, self.norm2, self.norm3 = nn.LayerNorm(dim), nn.LayerNorm(dim), nn.LayerNorm(dim)

    def forward(self, x: Tensor, context: Tensor | None) -> Tensor:
        """Tokens (B, N, dim) and a context (B, M, context_dim) to (B, N, dim)."""
        x = self.attn1(self.norm1(x), context if self.disable_self_attn else None) + x
        x = self.attn2(self.norm2(x), context) + x
        return self.ff(self.norm3(x)) + x


class SpatialTransformer(nn.Module):
    """A transformer over the pixels of features, with a skip.

    Args:
        channels: Channels of the features.
        heads: Heads.
        dim_head: Channels of a head.
        depth: Blocks.
        context_dim: Channels of the context, one number, or one for each block.
        disable_self_attn: Whether the pixels attend to the context alone.
        use_linear: Whether the projections at both ends are linear layers (Stable Diffusion 2) or 1x1 convolutions (1).
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        dim_head: int,
        depth: int = 1,
        context_dim: int | Sequence[int] | None = None,
        disable_self_attn: bool = False,
        use_linear: bool = False,
    ) -> None:
        super().__init__()
        inner = heads * dim_head
        contexts = list(context_dim) if isinstance(context_dim, Sequence) else [context_dim] * depth
        self.norm = nn.GroupNorm(GROUPS, channels, eps=1e-6)
        self.proj_in = nn.Linear(channels, inner) if use_linear else nn.Conv2d(channels, inner, 1)
        self.transformer_blocks = nn.ModuleList(
            TransformerBlock(inner, heads, dim_head, contexts[k], disable_self_attn) for k in range(depth)
        )
        self.proj_out = zeroed(nn.Linear(inner, channels) if use_linear else nn.Conv2d(inner, channels, 1))

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """(B, channels, H, W) and a context (B, M, context_dim) to (B, channels, H, W).

        Without a context, the pixels attend to each other, which goes where `context_dim` is None.
        """
        height, width = x.shape[-2:]
        tokens = _project(self.proj_in, self.norm(x).flatten(2).transpose(1, 2))
        for block in self.transformer_blocks:
            tokens = block(tokens, context)
        return _project(self.proj_out, tokens).transpose(1, 2).unflatten(2, (height, width)) + x


def _project(layer: nn.Linear | nn.Conv2d, tokens: Tensor) -> Tensor:
    # A 1x1 convolution is a linear layer on tokens.
    return F.linear(tokens, layer.weight.flatten(1), layer.bias)
