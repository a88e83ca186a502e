"""The public checks pass for what keeps to its contract, and name what does not."""

import pytest
import torch
from torch import nn

from dtir.diffusion.operators import LinearOperator
from dtir.diffusion.schedulers import VESDE, VPSDE, DDPMScheduler
from dtir.diffusion.schedulers.base import Scheduler
from dtir.testing import ContractError, TinyBackbone, check_backbone, check_operator, check_scheduler


class BatchMean(TinyBackbone):
    def forward(self, x):
        return super().forward(x) + x.mean()


class Idle(TinyBackbone):
    def forward(self, x):
        for block in self.blocks:
            block(self.head(x))
        return x + self.tail(self.head(x))


class Fixed(TinyBackbone):
    def forward(self, x):
        return super().forward(x)[..., :8, :8]


def test_backbones():
    backbone = TinyBackbone(4)
    check_backbone(backbone)
    assert all(p.grad is None for p in backbone.parameters())


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (BatchMean, "depends on the other pictures"),
        (Idle, "no block of ordered_blocks"),
        (Fixed, r"makes a tensor \(1, 3, 8, 8\)"),
        (lambda _: nn.Conv2d(3, 3, 1), r"has no ordered_blocks\(\)"),
    ],
)
def test_backbones_that_do_not_keep_to_it(kind, message):
    with pytest.raises(ContractError, match=message):
        check_backbone(kind(4))


class Halved(LinearOperator):
    def __init__(self, adjoint=0.5, inverse=2.0):
        super().__init__()
        self.adjoint, self.inverse = adjoint, inverse

    def A(self, x):  # noqa: N802
        return x / 2

    def At(self, y):  # noqa: N802
        return self.adjoint * y

    def A_pinv(self, y):  # noqa: N802
        return self.inverse * y


def test_operators():
    check_operator(Halved())
    with pytest.raises(ContractError, match="At is not the adjoint"):
        check_operator(Halved(adjoint=1.0))
    with pytest.raises(ContractError, match="A A_pinv A is not A"):
        check_operator(Halved(inverse=1.0))


class Cosine(Scheduler):
    """A process that gives no more than its base class asks for."""

    def marginal(self, t):
        angle = torch.as_tensor(t).reshape(-1, 1, 1, 1) / (self.num_timesteps + 1) * torch.pi / 2
        return angle.cos(), angle.sin()


class Noisy(Cosine):
    def marginal(self, t):
        a, sigma = super().marginal(t)
        return a, sigma + 0.1


class Backwards(Cosine):
    def marginal(self, t):
        a, sigma = super().marginal((self.num_timesteps + 1 - torch.as_tensor(t)) % (self.num_timesteps + 1))
        return a, sigma


@pytest.mark.parametrize(
    "scheduler", [DDPMScheduler(), VPSDE(N=50), VESDE(N=50), Cosine(20)], ids=lambda s: type(s).__name__
)
def test_schedulers(scheduler):
    check_scheduler(scheduler)


def test_schedulers_that_do_not_keep_to_it():
    with pytest.raises(ContractError, match=r"marginal\(0\) is \(1, 0\.1\)"):
        check_scheduler(Noisy(20))
    with pytest.raises(ContractError, match="must grow with every step"):
        check_scheduler(Backwards(20))
