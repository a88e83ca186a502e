"""Muon for the convolutions and linear layers of a network, AdamW for the rest of it."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Literal

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

from dtir.core.errors import ConfigError
from dtir.core.ranges import BelowOne, NonNegative, Positive
from dtir.registry import OPTIMIZERS

# Coefficients of the quintic iteration, which trades equal singular values for few iterations (Jordan et al., 2024).
_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_PRECISIONS = {"bf16": torch.bfloat16, "float32": torch.float32}
# Kernels of fewer channels on a side are those of depthwise convolutions, and of the first and the last layer.
LEAST_CHANNELS = 4


@OPTIMIZERS.register_module()
class MuonAdamW(Optimizer):
    """Muon (Jordan et al., 2024, https://kellerjordan.github.io/posts/muon) beside AdamW, at one learning rate.

    A kernel (out, in, k, k) is the matrix (out, in k k). Its step is the matrix next to its momentum whose singular
    values are all about 1, times 0.2 sqrt(max(rows, columns)): so large are AdamW's steps in the root mean square, and
    learning rates and weight decays carry over (Liu et al., arXiv 2502.16982, Eq. 4). Everything else - biases, norms,
    scales, depthwise convolutions, the first and the last layer of a network on pictures, the matrices of several
    experts in one tensor - is AdamW's.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate; a stage's own replaces it.
        momentum: Of the matrices, in [0, 1), with Nesterov's look ahead.
        betas: Decay of AdamW's gradients and of their squares.
        eps: Added to the root of AdamW's squared gradients.
        weight_decay: Decoupled, of both.
        precision: "bf16", as published, or "float32", in which the singular values are made equal; the former is slow
            on processors without units for it.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict],
        lr: Positive = 1e-3,
        momentum: BelowOne = 0.95,
        betas: tuple[BelowOne, BelowOne] = (0.9, 0.99),
        eps: Positive = 1e-8,
        weight_decay: NonNegative = 0.0,
        precision: Literal["bf16", "float32"] = "bf16",
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "precision": precision,
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """One step along the gradients; returns what `closure` did.

        Raises:
            ConfigError: The parameters are sharded.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [p for p in group["params"] if p.grad is not None]
            if any(isinstance(p, DTensor) for p in moved):
                raise ConfigError(
                    "optim_wrapper.optimizer.type is 'MuonAdamW', which needs whole matrices, and "
                    "train_cfg.parallel='FSDP' has parts of them in each process; take AdamW, or leave out parallel."
                )
            self._step_of_matrices([p for p in moved if _is_matrix(p)], group)
            self._step_of_others([p for p in moved if not _is_matrix(p)], group)
        return loss

    def _step_of_matrices(self, params: list[Tensor], group: dict) -> None:
        if not params:
            return
        for p in params:
            if not self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(p)
        grads, momenta = [p.grad for p in params], [self.state[p]["momentum_buffer"] for p in params]
        torch._foreach_lerp_(momenta, grads, 1 - group["momentum"])
        aims = torch._foreach_lerp(grads, momenta, group["momentum"])
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        # Matrices of a shape at once: a network has many of few shapes.
        alike: dict[torch.Size, list[int]] = defaultdict(list)
        for index, p in enumerate(params):
            alike[p.flatten(1).shape].append(index)
        for (rows, columns), indices in alike.items():
            directions = orthogonalised(torch.stack([aims[index].flatten(1) for index in indices]), group["precision"])
            length = group["lr"] * 0.2 * math.sqrt(max(rows, columns))
            moved = [params[index] for index in indices]
            steps = [direction.view_as(p) for p, direction in zip(moved, directions, strict=True)]
            torch._foreach_add_(moved, steps, alpha=-length)

    def _step_of_others(self, params: list[Tensor], group: dict) -> None:
        if not params:
            return
        for p in params:
            if not self.state[p]:
                start = {"exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
                self.state[p].update(start, step=torch.zeros((), dtype=torch.float32))
        averages, squares, steps = ([self.state[p][name] for p in params] for name in ("exp_avg", "exp_avg_sq", "step"))
        adamw(
            params,
            [p.grad for p in params],
            averages,
            squares,
            [],
            steps,
            foreach=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )


def orthogonalised(matrices: Tensor, precision: str = "float32") -> Tensor:
    """Matrices (B, M, N) with their singular vectors, and singular values between about 0.7 and 1.2, as float32.

    Singular values that are tiny beside the largest ones (below some 1e-3 of the Frobenius norm) stay smaller; a matrix
    of zeros stays one. `precision` is as of `MuonAdamW`.
    """
    a, b, c = _QUINTIC
    x = matrices.float()
    x = (x / (x.norm(dim=(1, 2), keepdim=True) + 1e-12)).to(_PRECISIONS[precision])
    wide = x.shape[1] <= x.shape[2]
    x = x if wide else x.mT
    for _ in range(_ITERATIONS):
        s = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(s, s, s, beta=b, alpha=c), x, beta=a)
    return (x if wide else x.mT).float()


def _is_matrix(p: Tensor) -> bool:
    return p.ndim in (2, 4) and min(p.shape[:2]) >= LEAST_CHANNELS
