"""The generative terms of fine-tuning as the authors of the method released them (docs/method.md, section 7).

With some probability a step takes them, all of its samples; the other steps are plain. What makes a difference to
training is the importance alone: the orthogonality has no graph there, and the generative loss is not added.
"""

from collections.abc import Sequence

import numpy as np
import torch
import torch.distributed as dist
from mmengine.dist import get_rank, get_world_size
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.core.seeding import derive_seed
from dtir.models.losses import per_sample
from dtir.models.restorers.draws import BatchDraws
from dtir.registry import REGULARIZERS
from dtir.regularizers.anchored import AnchoredPenalty
from dtir.regularizers.base import Regularizer
from dtir.regularizers.estimation import generative_batches

# Keeps the draw apart from the micro-batches', which count up from 0 at this place of the address.
_STEP_STREAM = 2**31 - 1


def is_generative_step(runner, step, probability: float) -> bool:
    """Whether a step takes the generative terms, too: the same in all processes and in a resumed run."""
    seed = derive_seed(runner.seed, step.stage.index, step.iteration, _STEP_STREAM)
    return np.random.default_rng(seed).random() < probability


def _check_probability(kind: str, probability: float) -> None:
    if not 0 <= probability <= 1:
        raise ConfigError(f"{kind}: probability={probability} must lie in [0, 1].")


@REGULARIZERS.register_module()
class ReleasedImportance(AnchoredPenalty):
    """The penalty by importances of whole batches, in some of the steps.

    With omega the mean over batches of `|gradient of the batch's generative loss|` and d the change since then,

        L_reg = weight sum_i (omega_i |d_i| + omega_i^2 d_i^2 / 2).

    The square of a batch's mean gradient is not the curvature, which the per-sample statistics of
    `ParameterImportance` estimate.

    Args:
        weight: lambda.
        probability: Probability of a step to have the term.
        before: Stage before which the importances are estimated.
        num_batches: Batches that the estimate is the mean of.
        batch_size: Samples of each.
        reestimate: Whether every later stage estimates anew, with its own start as the anchor.

    Raises:
        ConfigError: An option is outside its range.
    """

    def __init__(
        self,
        weight: float = 0.2,
        probability: float = 0.1,
        before: str = "finetune",
        num_batches: int = 50,
        batch_size: int = 16,
        reestimate: bool = False,
    ) -> None:
        super().__init__(weight, before, decay=0.0, reestimate=reestimate)
        _check_probability(type(self).__name__, probability)
        self.probability, self.num_batches, self.batch_size = probability, num_batches, batch_size

    def importances(self, runner, seed_stage: int) -> dict[str, dict[str, Tensor]]:
        """`omega`, over all processes."""
        model = runner.model
        network = self.network_of(runner)
        params = dict(network.named_parameters())
        sums = {name: torch.zeros_like(p) for name, p in params.items()}
        size, mine = self.batch_size, range(get_rank(), self.num_batches, get_world_size())
        chunks = [range(k * size, (k + 1) * size) for k in mine]
        for batch in generative_batches(runner, seed_stage, chunks, self.num_batches * size):
            loss = per_sample(
                model.generative_loss, batch["x"] - network(batch["x"], batch["t"]), batch["noise"]
            ).mean()
            for name, magnitude in gradient_magnitudes(loss, params).items():
                sums[name] += magnitude
        for tensor in sums.values():
            if get_world_size() > 1:
                dist.all_reduce(tensor)
            tensor.div_(self.num_batches)
        return {"omega": {name: value.cpu().float() for name, value in sums.items()}}

    @override
    def coefficients(self, name: str) -> tuple[Tensor, Tensor]:
        omega = self.state["omega"][name]
        return omega, omega.square()

    def before_optim_step(self, runner, step) -> None:
        """Adds the term's gradient in the generative steps; what is logged stands until the next one."""
        if is_generative_step(runner, step, self.probability):
            super().before_optim_step(runner, step)
        step.log(**self.values)

    def logs(self, step) -> bool:
        """Always: generative steps are few."""
        return True


def gradient_magnitudes(loss: Tensor, params: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """`|gradient|` of a loss by the parameters' names; 0 where it does not depend on one."""
    gradients = torch.autograd.grad(loss, list(params.values()), allow_unused=True)
    return {
        name: torch.zeros_like(p) if g is None else g.abs()
        for (name, p), g in zip(params.items(), gradients, strict=True)
    }


@REGULARIZERS.register_module()
class ReleasedOrthogonality(Regularizer):
    """Logs `1 - cos` of the gradients of the generative and the restoring loss over all parameters, and does no more.

    In the generative steps the step's clean pictures, noised, give the generative gradient. The released code adds the
    term to its loss as a number without a graph, so that it changes no gradient; logged is `orthogonality`.

    Args:
        probability: Probability of a step to be generative.

    Raises:
        ConfigError: `probability` is outside [0, 1].
    """

    # Before importances are added to the gradient.
    priority = "ABOVE_NORMAL"

    def __init__(self, probability: float = 0.1) -> None:
        _check_probability(type(self).__name__, probability)
        self.probability = probability
        self.generative: list[Tensor] = []
        self.value = torch.zeros(())

    def before_step(self, runner, step) -> None:
        """Starts a new sum."""
        self.generative = []

    def after_loss(self, runner, step, losses: dict[str, Tensor]) -> None:
        """Takes the generative gradient of the micro-batch."""
        if not is_generative_step(runner, step, self.probability):
            return
        model, samples = runner.model, step.samples
        draws = BatchDraws(samples["gt"], samples["noise_seed"], samples["slots"], samples.get("step_size"))
        t = draws.steps(model.num_timesteps)
        loss = model.generative_losses(samples["gt"], t, draws.noise()).mean()
        params = runner.train_loop.trainable_parameters
        found = torch.autograd.grad(loss, params, allow_unused=True)
        gradients = [torch.zeros_like(p) if g is None else g for p, g in zip(params, found, strict=True)]
        if self.generative:
            torch._foreach_add_(gradients, self.generative)
        self.generative = gradients

    def before_optim_step(self, runner, step) -> None:
        """Compares it with the restoring one; what is logged stands until the next generative step."""
        if self.generative:
            self.value = self._one_minus_cosine(runner.train_loop.trainable_parameters)
        step.log(orthogonality=self.value)

    def _one_minus_cosine(self, params: Sequence[nn.Parameter]) -> Tensor:
        restoring = [torch.zeros_like(p) if p.grad is None else p.grad for p in params]
        first, second = (torch.cat([g.flatten().float() for g in part]) for part in (self.generative, restoring))
        if get_world_size() > 1:
            dist.all_reduce(first)
        return 1 - F.cosine_similarity(first, second, dim=0)
