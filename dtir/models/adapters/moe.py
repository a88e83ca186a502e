"""Mixture-of-experts adapters, routed by the time prompt (docs/method.md, section 5; arXiv 2506.21722, 3.3)."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.core.seeding import device_generator
from dtir.models.precision import without_autocast
from dtir.registry import ADAPTERS

from .base import Adapter, ParallelAdapter

ACTIVATIONS = {None: lambda x: x, "relu": functional.relu, "gelu": functional.gelu}


class NoisyRouter(nn.Linear):
    """Logits of the experts from time prompts (B, prompt_dim) to (B, n), with Gaussian noise in training.

    The noise is one draw for all samples of an optimiser step (`draw_router_noise`), so that these can be split over
    processes and forward passes, or run again where activations are checkpointed.

    Args:
        prompt_dim: Length of the time prompt.
        num_experts: n.
        std: Standard deviation of the noise.
    """

    def __init__(self, prompt_dim: int, num_experts: int, std: float = 0.0) -> None:
        super().__init__(prompt_dim, num_experts)
        self.std = std
        self.noise: Tensor | None = None

    def forward(self, prompt: Tensor) -> Tensor:
        """The logits that the choice is made by, in the parameters' precision: rounded to half of it, close experts
        would be chosen otherwise in a training than without it."""
        with without_autocast(prompt.device):
            logits = super().forward(prompt)
        if not (self.training and self.std):
            return logits
        noise = torch.randn(self.out_features) if self.noise is None else self.noise
        return logits + self.std * noise.to(logits)


def draw_router_noise(network: nn.Module, seed: int) -> None:
    """Gives every noisy router of a network the noise of an optimiser step, a function of `seed` and its place."""
    routers = [module for module in network.modules() if isinstance(module, NoisyRouter) and module.std]
    for place, router in enumerate(routers):
        # Drawn on the CPU, so that it is the same on every device.
        router.noise = torch.randn(router.out_features, generator=device_generator("cpu", seed, place))


class MixtureOfExperts(nn.Module):
    """The experts chosen by the time prompt, mixed.

    An expert is a bottleneck E(x) = up(act(down(x))) at every pixel. The router is linear in the prompt; the k experts
    with the highest logits are mixed by the softmax of these. Only they are computed: k bottlenecks are one of k times
    the rank, with each sample's weights. `up` is zero at first.

    Args:
        in_channels: Channels of x.
        out_channels: Channels of the mixture.
        prompt_dim: Length of the time prompt.
        num_experts: n, the number of experts.
        top_k: k, how many of them a sample uses.
        rank: Channels of a bottleneck.
        activation: None for linear experts, which can be folded into a layer's weight; "relu" or "gelu".
        router_noise: Standard deviation of the Gaussian noise on the logits in training (`NoisyRouter`).

    Raises:
        ConfigError: There are fewer experts than a sample uses, a number is not positive, or the activation is unknown.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        prompt_dim: int,
        num_experts: int = 4,
        top_k: int = 2,
        rank: int = 13,
        activation: str | None = None,
        router_noise: float = 0.0,
    ) -> None:
        super().__init__()
        if not 1 <= top_k <= num_experts or rank < 1 or router_noise < 0:
            raise ConfigError(
                f"experts: num_experts={num_experts}, top_k={top_k}, rank={rank}, router_noise={router_noise}; top_k "
                "must be 1..num_experts, rank positive, and router_noise not negative."
            )
        if activation not in ACTIVATIONS:
            known = ", ".join(repr(name) for name in ACTIVATIONS)
            raise ConfigError(f"experts: activation={activation!r}; expected one of {known}.")
        self.num_experts, self.top_k, self.rank = num_experts, top_k, rank
        self.activation = activation
        self.router = NoisyRouter(prompt_dim, num_experts, router_noise)
        self.down = nn.Parameter(torch.empty(num_experts, rank, in_channels))
        self.up = nn.Parameter(torch.zeros(num_experts, rank, out_channels))
        nn.init.normal_(self.down, std=1 / math.sqrt(in_channels))

    def routing(self, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """The chosen experts of each sample and their shares.

        Args:
            prompt: Time prompts (B, prompt_dim).

        Returns:
            Shares (B, top_k), which sum to 1 and descend, and indices of experts (B, top_k).
        """
        logits, chosen = self.router(prompt).topk(self.top_k, dim=1)
        return logits.softmax(1), chosen

    def bottleneck(self, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """The chosen bottlenecks of each sample side by side, the shares in the second factor.

        Args:
            prompt: Time prompts (B, prompt_dim).

        Returns:
            `down` (B, k rank, in_channels) and `up` (B, k rank, out_channels).
        """
        share, chosen = self.routing(prompt)
        return self.down[chosen].flatten(1, 2), (self.up[chosen] * share[..., None, None]).flatten(1, 2)

    def forward(self, x: Tensor, prompt: Tensor, base: Tensor | None = None) -> Tensor:
        """The mixture of x, for prompts (B, prompt_dim), added to `base`.

        Args:
            x: (B, in_channels, H, W) or tokens (B, N, in_channels).
            prompt: Time prompts (B, prompt_dim).
            base: Like the result, None for zeros.

        Returns:
            (B, out_channels, H, W) or (B, N, out_channels).
        """
        return apply_bottleneck(x, *self.bottleneck(prompt), self.activation, base)


def apply_bottleneck(x: Tensor, down: Tensor, up: Tensor, activation: str | None, base: Tensor | None = None) -> Tensor:
    """`base + up(act(down(x)))` with weights of each sample's own.

    Args:
        x: (B, C, H, W) or tokens (B, N, C).
        down: (B, r, C).
        up: (B, r, C').
        activation: A key of `ACTIVATIONS`.
        base: (B, C', H, W) or (B, N, C'), None for zeros.

    Returns:
        (B, C', H, W) or (B, N, C').
    """
    first, down = tokens(x), down.to(x.dtype).transpose(1, 2)
    if activation is None and down.shape[1] * up.shape[2] < down.shape[2] * (down.shape[1] + up.shape[2]):
        # Wider inside than a matrix from C to C' has entries: cheaper as that matrix.
        second = torch.bmm(down, up.to(x.dtype))
    else:
        first = ACTIVATIONS[activation](torch.bmm(first, down))
        second = up.to(first.dtype)
    if base is not None and base.dtype == second.dtype:
        y = torch.baddbmm(tokens(base), first, second)
    else:
        # Under autocast: what is added to is not rounded.
        y = torch.bmm(first, second).to(x.dtype)
        y = y if base is None else tokens(base) + y
    return y.reshape(x.shape[0], x.shape[2], x.shape[3], -1).permute(0, 3, 1, 2) if x.ndim == 4 else y


def tokens(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H W, C); (B, N, C) as it is."""
    return x.permute(0, 2, 3, 1).flatten(1, 2) if x.ndim == 4 else x


@ADAPTERS.register_module()
class MoEAdapter(Adapter):
    """Adds to a block's output what the experts make of it.

    With the default settings the adapters of NAFNet at width 64 have 1.8 M parameters, the number of the paper's
    table 4.

    Args:
        channels: Channels of the block's output.
        prompt_dim: Length of the time prompt.
        num_experts: As in `MixtureOfExperts`.
        top_k: As in `MixtureOfExperts`.
        rank: As in `MixtureOfExperts`.
        activation: As in `MixtureOfExperts`.
        router_noise: As in `MixtureOfExperts`.
    """

    def __init__(
        self,
        channels: int,
        prompt_dim: int,
        num_experts: int = 4,
        top_k: int = 2,
        rank: int = 13,
        activation: str | None = None,
        router_noise: float = 0.0,
    ) -> None:
        super().__init__(channels, prompt_dim)
        self.experts = MixtureOfExperts(
            channels, channels, prompt_dim, num_experts, top_k, rank, activation, router_noise
        )

    def forward(self, x: Tensor, prompt: Tensor) -> Tensor:
        """The adapted output, like x: (B, C, H, W) or tokens (B, N, C); `prompt` is (B, prompt_dim)."""
        return self.experts(x, prompt, base=x)


@ADAPTERS.register_module()
class ParallelMoEAdapter(ParallelAdapter):
    """Experts beside the last pointwise layer of a block; a task's linear experts fold into that layer.

    In NAFNet, Restormer, X-Restormer and PromptIR this is the layer that writes to the block's skip, so that the
    experts add to the block's output as those of `MoEAdapter` do, in front of the skip.

    Args:
        in_channels: Channels of the layer's input.
        out_channels: Channels of its output.
        prompt_dim: Length of the time prompt.
        num_experts: As in `MixtureOfExperts`.
        top_k: As in `MixtureOfExperts`.
        rank: As in `MixtureOfExperts`.
        activation: As in `MixtureOfExperts`.
        router_noise: As in `MixtureOfExperts`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        prompt_dim: int,
        num_experts: int = 4,
        top_k: int = 2,
        rank: int = 13,
        activation: str | None = None,
        router_noise: float = 0.0,
    ) -> None:
        super().__init__(in_channels, out_channels, prompt_dim)
        self.experts = MixtureOfExperts(
            in_channels, out_channels, prompt_dim, num_experts, top_k, rank, activation, router_noise
        )

    def forward(self, x: Tensor, prompt: Tensor) -> Tensor:
        """What is added to the layer's output, from its input x: (B, C, H, W) or tokens (B, N, C)."""
        return self.experts(x, prompt)

    @override
    def added(self, output: Tensor, x: Tensor, prompt: Tensor) -> Tensor:
        """The output with what the experts add, summed within their matrix product."""
        return self.experts(x, prompt, base=output)
