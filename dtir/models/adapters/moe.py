"""Mixture-of-experts adapters, routed by the time prompt (method.md 5; Lu et al., arXiv 2506.21722, section 3.3)."""

import math

import torch
from torch import Tensor, nn

from dtir.registry import ADAPTERS
from dtir.utils.errors import ConfigError

from .base import Adapter


@ADAPTERS.register_module()
class MoEAdapter(Adapter):
    """Adds to a block's output what the experts chosen by the time prompt make of it.

    An expert is a bottleneck E(x) = up(down(x)) at every pixel, linear, so that a task's experts can later be folded
    into 1x1 convolutions. The router is linear in the prompt; the k experts with the highest logits are mixed by the
    softmax of these. Only they are computed: k bottlenecks are one of k times the rank, with each sample's weights.

    With the default settings the adapters of NAFNet at width 64 have 1.8 M parameters, the number of the paper's
    table 4.

    Args:
        channels: Channels of the block's output.
        prompt_dim: Length of the time prompt.
        num_experts: n, the number of experts.
        top_k: k, how many of them a sample uses.
        rank: Channels of a bottleneck.

    Raises:
        ConfigError: There are fewer experts than a sample uses, or a number is not positive.
    """

    def __init__(self, channels: int, prompt_dim: int, num_experts: int = 4, top_k: int = 2, rank: int = 13) -> None:
        super().__init__(channels, prompt_dim)
        if not 1 <= top_k <= num_experts or rank < 1:
            raise ConfigError(
                f"MoEAdapter: num_experts={num_experts}, top_k={top_k}, rank={rank}; top_k must be 1..num_experts and "
                "rank positive."
            )
        self.num_experts, self.top_k, self.rank = num_experts, top_k, rank
        self.router = nn.Linear(prompt_dim, num_experts)
        self.down = nn.Parameter(torch.empty(num_experts, rank, channels))
        self.up = nn.Parameter(torch.zeros(num_experts, rank, channels))
        nn.init.normal_(self.down, std=1 / math.sqrt(channels))

    def routing(self, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """The chosen experts of each sample and their shares.

        Args:
            prompt: Time prompts (B, prompt_dim).

        Returns:
            Shares (B, top_k), which sum to 1 and descend, and indices of experts (B, top_k).
        """
        logits, chosen = self.router(prompt).topk(self.top_k, dim=1)
        return logits.softmax(1), chosen

    def forward(self, x: Tensor, prompt: Tensor) -> Tensor:
        """The adapted output, like x: (B, C, H, W) or tokens (B, N, C); `prompt` is (B, prompt_dim)."""
        share, chosen = self.routing(prompt)
        # (B, k rank, C): the bottlenecks of a sample side by side.
        down = self.down[chosen].flatten(1, 2).to(x.dtype)
        up = (self.up[chosen] * share[..., None, None]).flatten(1, 2).to(x.dtype)
        tokens = x.permute(0, 2, 3, 1).flatten(1, 2) if x.ndim == 4 else x
        y = torch.bmm(torch.bmm(tokens, down.mT), up).to(x.dtype)
        return x + (y.unflatten(1, x.shape[2:]).permute(0, 3, 1, 2) if x.ndim == 4 else y)
