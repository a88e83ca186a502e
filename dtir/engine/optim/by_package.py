"""Optimisers of other packages, under names of the registry: the extra `optimizers`."""

from collections.abc import Iterable
from importlib import import_module
from types import ModuleType

from torch import Tensor
from torch.optim import Optimizer

from dtir.core.errors import ConfigError
from dtir.core.extras import needs_extra
from dtir.core.ranges import BelowOne, NonNegative, NonNegativeInt, Positive, PositiveInt
from dtir.registry import OPTIMIZERS


@OPTIMIZERS.register_module(name="ScheduleFreeAdamW")
def schedule_free_adamw(
    params: Iterable[Tensor] | Iterable[dict],
    lr: Positive = 0.0025,
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999),
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
    warmup_steps: NonNegativeInt = 0,
    r: NonNegative = 0.0,
    weight_lr_power: NonNegative = 2.0,
) -> Optimizer:
    """Schedule-free AdamW (Defazio et al., arXiv 2405.15682), of the package `schedulefree`.

    It averages the weights instead of lowering the learning rate: gradients are taken at y, a point between the average
    x and the weights z that AdamW moves. x is what is validated and saved, see `StagedOptimWrapper.averaged_weights`.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate; a stage's own replaces it.
        betas: How far y lies towards x, which must not be 0, and the decay of the squared gradients.
        eps: Added to the root of the squared gradients.
        weight_decay: Decoupled, taken at y.
        warmup_steps: Iterations of warm-up at the start of each stage, beside the stage's own `warmup_iters`.
        r: Power of the step's number in its weight in the average.
        weight_lr_power: Power of the largest learning rate so far in that weight.

    Raises:
        ConfigError: The package is not installed, or the first of `betas` is 0.
    """
    if not betas[0]:
        raise ConfigError("optim_wrapper.optimizer.betas[0] is 0: ScheduleFreeAdamW has no average then; 0.9 is usual.")
    return _package("schedulefree").AdamWScheduleFree(
        params, lr, tuple(betas), eps, weight_decay, warmup_steps, r, weight_lr_power
    )


@OPTIMIZERS.register_module(name="Prodigy")
def prodigy(
    params: Iterable[Tensor] | Iterable[dict],
    lr: Positive = 1.0,
    betas: tuple[BelowOne, BelowOne] = (0.9, 0.999),
    beta3: BelowOne | None = None,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 0.0,
    decouple: bool = True,
    use_bias_correction: bool = False,
    safeguard_warmup: bool = False,
    d0: Positive = 1e-6,
    d_coef: Positive = 1.0,
    growth_rate: Positive | None = None,
    slice_p: PositiveInt = 1,
) -> Optimizer:
    """Prodigy, which finds the size of Adam's step by itself (Mishchenko and Defazio, arXiv 2306.06101), of the
    package `prodigyopt`.

    The learning rate is a factor of that size: stages have `lr=1.0`, with any schedule. It reads two numbers per
    parameter tensor back from the device in every step.

    Args:
        params: Parameters, or groups of them, with one learning rate or 0.
        lr: Factor of the step; a stage's own replaces it.
        betas: Decay of the gradients and of their squares.
        beta3: Decay of the sums that the size is found from; None for the root of the second of `betas`.
        eps: Added to the root of the squared gradients, times the size.
        weight_decay: Times the step's size.
        decouple: Whether the weight decay is AdamW's, and not a part of the gradient.
        use_bias_correction: Whether the step is that of Adam with its bias correction.
        safeguard_warmup: Whether the learning rate is left out of the sums; for a warm-up.
        d0: The size at the start of each stage.
        d_coef: Factor of the size that is found.
        growth_rate: Largest growth of the size in a step, None for any.
        slice_p: Every how many numbers of a tensor take part in the sums.

    Raises:
        ConfigError: The package is not installed, or groups have different learning rates.
    """
    params = list(params)
    rates = {group.get("lr", lr) for group in params if isinstance(group, dict)} - {0.0}
    if len(rates) > 1:
        raise ConfigError(
            "optim_wrapper.paramwise_cfg: Prodigy finds one size of step for all parameters, so lr_mult and "
            "bias_lr_mult must be 1, or 0."
        )
    options = {} if growth_rate is None else {"growth_rate": growth_rate}
    return _package("prodigyopt").Prodigy(
        params,
        lr=lr,
        betas=tuple(betas),
        beta3=beta3,
        eps=eps,
        weight_decay=weight_decay,
        decouple=decouple,
        use_bias_correction=use_bias_correction,
        safeguard_warmup=safeguard_warmup,
        d0=d0,
        d_coef=d_coef,
        slice_p=slice_p,
        **options,
    )


def _package(name: str) -> ModuleType:
    with needs_extra("this optimizer", "optimizers"):
        return import_module(name)
