"""What our tests hold every backbone, operator and scheduler to: one line in a test of your own part.

check_backbone(MyNet(width=8))
check_operator(MyBlur(), shape=(3, 16, 8))
check_scheduler(MyProcess())
"""

import copy
import itertools
import math

import torch
from torch import Tensor, nn

from dtir.core.errors import ConfigError
from dtir.diffusion.operators import LinearOperator, Operator
from dtir.diffusion.schedulers import Scheduler
from dtir.models import ConditionedNetwork
from dtir.models.backbones.parts.pictures import restored_picture
from dtir.models.backbones.traits import traits_of
from dtir.models.probing import check_picture, named_blocks

# The noise that may be left at t = 0; the published VE process has .01.
LEAST_NOISE = 0.02
SIZES = ((1, 1), (7, 3), (16, 24))
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
# Of float64, for what has to hold to rounding.
EXACT = {"rtol": 1e-7, "atol": 1e-9}


class ContractError(AssertionError):
    """A part does not keep to its contract; the message says what it does and what is expected."""


def check_backbone(backbone: nn.Module, sizes: tuple[tuple[int, int], ...] = SIZES) -> None:
    """Checks a backbone against docs/custom_backbone.md; its parameters stay as they are.

    Held are: a finite picture of the right size for pictures of any size, gradients, outputs of one picture that do not
    depend on the others of its batch, blocks that exist and are reached by the time step, and a conditioning that
    changes nothing at first.

    Args:
        backbone: A network from (B, 3, H, W) in [0, 1] to pictures.
        sizes: Heights and widths to try.

    Raises:
        ContractError: It does not keep to one of these.
    """
    kind = type(backbone).__name__
    try:
        for size in sizes:
            check_picture(backbone, size)
        blocks = named_blocks(backbone)
        # A copy, for its hooks stay.
        network = ConditionedNetwork(copy.deepcopy(backbone), embed_dim=8)
    except ConfigError as error:
        raise ContractError(str(error)) from error
    _check_pictures(kind, network.eval().backbone)
    _check_conditioning(kind, network, list(blocks))


@torch.no_grad()
def _check_pictures(kind: str, backbone: nn.Module) -> None:
    x = _random(3, 3, 16, 24).float()
    together = restored_picture(backbone, x)
    _holds(together.isfinite().all(), f"{kind}: the output has infinite or undefined values.")
    alone = torch.cat([restored_picture(backbone, one[None]) for one in x])
    _close(together, alone, f"{kind}: what it makes of a picture depends on the other pictures of the batch.", CLOSE)
    last = restored_picture(backbone, x.to(memory_format=torch.channels_last))
    _close(together, last, f"{kind}: the output depends on the memory format of the input.", CLOSE)


def _check_conditioning(kind: str, network: ConditionedNetwork, blocks: list[str]) -> None:
    side = -(-16 // traits_of(network.backbone).size_multiple) * traits_of(network.backbone).size_multiple
    x, t = _random(2, 3, side, side).float(), torch.tensor([3, 41])
    _close(network(x, t), restored_picture(network.backbone, x), f"{kind}: it is not deterministic.", CLOSE)
    network(x, t).square().mean().backward()
    gradient = network.to_modulation.bias.grad
    gradient = torch.zeros_like(network.to_modulation.bias) if gradient is None else gradient
    shares = gradient.view(2, -1).split(network.widths, dim=1)
    silent = [name for name, share in zip(blocks, shares, strict=True) if not share.any()]
    _holds(len(silent) < len(blocks), f"{kind}: no block of ordered_blocks() has a part in the output.")


def check_operator(operator: Operator, shape: tuple[int, int, int] = (3, 16, 8)) -> None:
    """Checks a degradation for training-free guidance; a linear one's adjoint and pseudo-inverse too.

    Args:
        operator: Maps pictures (B, C, H, W) to measurements.
        shape: Shape of the pictures that it takes, (C, H, W).

    Raises:
        ContractError: It has no gradient; or `<A x, y> = <x, At y>`, `A A_pinv A = A`, or that A_pinv A is an
            orthogonal projection, does not hold in float64; or what it keeps of one type of picture spoils another.
    """
    kind, x = type(operator).__name__, _random(2, *shape)
    leaf = x.clone().requires_grad_()
    y = operator.A(leaf)
    _holds(y.requires_grad, f"{kind}.A has no gradient, which guidance needs.")
    (gradient,) = torch.autograd.grad(y.square().sum(), leaf)
    _holds(gradient.isfinite().all(), f"{kind}.A: its gradient has infinite or undefined values.")
    if isinstance(operator, LinearOperator):
        _check_linear(kind, operator, x, y.detach())


def _check_linear(kind: str, operator: LinearOperator, x: Tensor, y: Tensor) -> None:
    other = _random(*y.shape, seed=1)
    scale = (y.norm() * other.norm()).clamp(min=1)
    difference = ((y * other).sum() - (x * operator.At(other)).sum()).abs() / scale
    _holds(difference < EXACT["atol"], f"{kind}.At is not the adjoint of A: <A x, y> and <x, At y> differ.")
    _close(operator.A(operator.A_pinv(y)), y, f"{kind}: A A_pinv A is not A.", EXACT)
    inverse = operator.A_pinv(other)
    _close(operator.A_pinv(operator.A(inverse)), inverse, f"{kind}: A_pinv A A_pinv is not A_pinv.", EXACT)
    projected = operator.project(x)
    _holds(
        ((x - projected) * projected).sum().abs() < 1e-8 * max(x.numel(), 1),
        f"{kind}: A_pinv A is not an orthogonal projection, so that A_pinv is not the Moore-Penrose inverse.",
    )
    operator.project(x.float())
    _close(operator.project(x), projected, f"{kind}: what it keeps from pictures of another type is used.", EXACT)


def check_scheduler(scheduler: Scheduler) -> None:
    """Checks a forward process of a class of your own; all that it needs is its `marginal`.

    Args:
        scheduler: The process.

    Raises:
        ContractError: At t = 0 there is noise or a changed picture, the share of the noise does not grow with t, shapes
            are not (B, 1, 1, 1), conversions between noise, picture and velocity do not return, the variance of the
            posterior is negative, or steps of a sampling or weights of a loss are out of their range.
    """
    kind, last = type(scheduler).__name__, scheduler.num_timesteps
    t = torch.arange(last + 1)
    a, sigma = (value.double() for value in scheduler.marginal(t))
    for name, value in (("a", a), ("sigma", sigma)):
        _holds(
            value.shape == (last + 1, 1, 1, 1),
            f"{kind}.marginal: {name} has shape {tuple(value.shape)} for {last + 1} steps; expected (B, 1, 1, 1).",
        )
        _holds(value.isfinite().all(), f"{kind}.marginal: {name} has infinite or undefined values.")
    _holds(
        math.isclose(a[0].item(), 1, abs_tol=1e-3) and 0 <= sigma[0].item() <= LEAST_NOISE,
        f"{kind}.marginal(0) is ({a[0].item():g}, {sigma[0].item():g}); expected the clean picture, about (1, 0).",
    )
    noise = (sigma[1:] / a[1:].clamp(min=1e-12)).flatten()
    _holds((noise.diff() > 0).all() and noise[0] > 0, f"{kind}.marginal: sigma / a must grow with every step.")
    _check_conversions(kind, scheduler, t[1:])
    steps = scheduler.sample_steps(min(5, last))
    descending = all(later < earlier for earlier, later in itertools.pairwise(steps))
    _holds(
        steps[0] == last and descending and steps[-1] > 0,
        f"{kind}.sample_steps gives {steps}; expected descending steps from {last}, above 0.",
    )
    weights = torch.stack([scheduler.loss_weight(t[1:], name) for name in ("uniform", "min_snr")])
    _holds(
        weights.shape == (2, last) and (weights >= 0).all() and weights.isfinite().all(),
        f"{kind}.loss_weight gives weights that are negative, not finite, or not one per step.",
    )


def _check_conversions(kind: str, scheduler: Scheduler, t: Tensor) -> None:
    x0, eps = (_random(len(t), 3, 2, 2, seed=seed).float() for seed in (0, 1))
    a, sigma = scheduler.marginal(t)
    x_t = scheduler.add_noise(x0, eps, t)
    _close(x_t, a * x0 + sigma * eps, f"{kind}.add_noise is not a x_0 + sigma eps.", CLOSE)
    found = scheduler.eps_from_v(x_t, a * eps - sigma * x0, t)
    _close(found, eps, f"{kind}.eps_from_v does not give the noise back.", {"rtol": 1e-3, "atol": 1e-3})
    _, variance = scheduler.posterior(x_t, x0, t)
    _holds((variance >= -1e-6).all(), f"{kind}.posterior has a negative variance.")


def _random(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _holds(condition: bool | Tensor, otherwise: str) -> None:
    if not condition:
        raise ContractError(otherwise)


def _close(found: Tensor, expected: Tensor, otherwise: str, bounds: dict[str, float]) -> None:
    if found.shape != expected.shape:
        raise ContractError(f"{otherwise} Shapes: {tuple(found.shape)} and {tuple(expected.shape)}.")
    if not torch.allclose(found, expected, **bounds):
        raise ContractError(f"{otherwise} Largest difference: {(found - expected).abs().max().item():.2g}.")
