"""Exact t-SNE (van der Maaten & Hinton, JMLR 9, 2008) for up to some thousand points."""

import math

import torch
from torch import Tensor

from dtir.core.errors import DtirError

_EXAGGERATION, _EXAGGERATED = 4.0, 100
_TINY = 1e-12


def tsne(
    features: Tensor, perplexity: float = 30.0, iterations: int = 600, lr: float | None = None, seed: int = 0
) -> Tensor:
    """A map of points in the plane that keeps who is near whom.

    Gradient descent with momentum and gains on the Kullback-Leibler divergence from the neighbourhoods of the features
    (Gaussian, each of the perplexity) to those of the map (Student's t), as section 3.4 of the paper has it; the first
    steps with early exaggeration.

    Args:
        features: Points (N, D), of any float type.
        perplexity: Effective number of neighbours; at most (N - 1) / 3 is used.
        iterations: Steps of the descent.
        lr: Step size; None for N / exaggeration, at least 20.
        seed: Seed of the random start.

    Returns:
        Places (N, 2), float64, centred, on the CPU; the same for the same arguments.

    Raises:
        DtirError: There are under four points, or a feature is not finite.
    """
    x = features.detach().double().cpu()
    n = len(x)
    if n < 4 or not x.isfinite().all():
        raise DtirError(f"t-SNE needs at least 4 points of finite features, got {tuple(x.shape)}.")
    p = neighbourhoods(x, min(perplexity, (n - 1) / 3))
    y = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed), dtype=x.dtype) * 1e-4
    step, gains = torch.zeros_like(y), torch.ones_like(y)
    lr = max(n / _EXAGGERATION, 20.0) if lr is None else lr
    for iteration in range(iterations):
        early = iteration < _EXAGGERATED
        grad = _gradient(p * _EXAGGERATION if early else p, y)
        gains = torch.where(grad.sign() == step.sign(), gains * 0.8, gains + 0.2).clamp(min=0.01)
        step = (0.5 if early else 0.8) * step - lr * gains * grad
        y = y + step
        y = y - y.mean(0)
    return y


def _gradient(p: Tensor, y: Tensor) -> Tensor:
    """The gradient (N, 2) of KL(P || Q), equation 5 of the paper."""
    closeness = 1 / (1 + torch.cdist(y, y).square())
    closeness.fill_diagonal_(0)
    pull = (p - closeness / closeness.sum()) * closeness
    return 4 * (pull.sum(1, keepdim=True) * y - pull @ y)


def neighbourhoods(x: Tensor, perplexity: float) -> Tensor:
    """Symmetric joint probabilities (N, N) of points (N, D); they sum to 1 and are 0 on the diagonal."""
    conditional = conditional_probabilities(x, perplexity)
    return ((conditional + conditional.T) / (2 * len(x))).clamp(min=_TINY).fill_diagonal_(0)


def conditional_probabilities(x: Tensor, perplexity: float, rounds: int = 60) -> Tensor:
    """p(j | i) of points (N, D): each row (of N) a Gaussian around point i whose perplexity 2^entropy is as asked."""
    distance = torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist").square()
    # In units of its own mean distance every point starts the search from the same range of precisions.
    distance = distance / distance.mean(1, keepdim=True).clamp(min=_TINY)
    low, high = torch.full((len(x), 1), -20.0, dtype=x.dtype), torch.full((len(x), 1), 20.0, dtype=x.dtype)
    for _ in range(rounds):
        middle = (low + high) / 2
        wide = _entropy(_softmax(distance, middle)) > math.log(perplexity)
        low, high = torch.where(wide, middle, low), torch.where(wide, high, middle)
    return _softmax(distance, (low + high) / 2)


def _softmax(distance: Tensor, log_precision: Tensor) -> Tensor:
    return (-distance * log_precision.exp()).fill_diagonal_(-math.inf).softmax(1)


def _entropy(p: Tensor) -> Tensor:
    return -(p * p.clamp(min=1e-300).log()).sum(1, keepdim=True)
