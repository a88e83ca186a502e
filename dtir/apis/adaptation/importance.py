"""Holds a network near what it was where its outputs for the old tasks depend on it (memory-aware synapses)."""

import torch
from torch import Tensor, nn

from dtir.regularizers.importance import per_sample_gradients

CHUNK = 4


class OutputImportance:
    """Adds the gradient of `weight / 2 sum_i h_i d_i^2` for the change d since it was made.

    h_i is the mean over pictures, each at one of the old tasks' steps in turn, of the squared gradient of
    `||x - F(x, t)||^2 / 2` (Aljundi et al., "Memory Aware Synapses", ECCV 2018, with squares), divided by its mean
    over all parameters: it needs none of the old tasks' data.

    Args:
        network: The network F(x, t).
        pictures: (N, 3, H, W) in [0, 1].
        steps: Steps of the old tasks (K,).
        weight: Weight of the term.
    """

    def __init__(self, network: nn.Module, pictures: Tensor, steps: Tensor, weight: float) -> None:
        params = {name: p.detach() for name, p in network.named_parameters()}
        squares = {name: torch.zeros_like(p) for name, p in params.items()}
        t = steps[torch.arange(len(pictures), device=steps.device) % len(steps)]
        for start in range(0, len(pictures), CHUNK):
            batch = {"x": pictures[start : start + CHUNK], "t": t[start : start + CHUNK]}
            for name, g in per_sample_gradients(network, params, _residual_norm, batch).items():
                squares[name] += g.square().sum(0)
        count = sum(value.numel() for value in squares.values())
        mean = (sum(value.sum() for value in squares.values()) / count).clamp(min=torch.finfo(torch.float32).tiny)
        self.rows = [(p, p.detach().clone(), weight * squares[name] / mean) for name, p in network.named_parameters()]

    @torch.no_grad()
    def add_gradient(self) -> None:
        """Adds the term's gradient to `p.grad`."""
        for p, anchor, importance in self.rows:
            if p.grad is not None:
                p.grad.addcmul_(importance, p - anchor)


def _residual_norm(out: Tensor, sample: dict[str, Tensor]) -> Tensor:
    return (sample["x"] - out).square().sum() / 2
