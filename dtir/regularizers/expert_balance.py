"""Load balancing of mixture-of-experts adapters (docs/method.md, section 5)."""

import torch
import torch.distributed as dist
from mmengine.dist import get_world_size
from torch import Tensor, nn

from dtir.core.errors import ConfigError
from dtir.models.adapters import MixtureOfExperts
from dtir.registry import REGULARIZERS
from dtir.regularizers.base import Regularizer


@REGULARIZERS.register_module()
class ExpertBalance(Regularizer):
    """Adds the gradient of `weight * mean over adapters of n sum_e f_e P_e` (Fedus et al., JMLR 2022, Eq. 4-6).

    Over all samples of an optimiser step, f_e is the share of the choices that fell on expert e, and P_e the mean of
    the router's softmax over all n experts. The term is 1 where all experts are used alike. Routers read the time step
    alone, so that the term is computed once per optimiser step, from the time steps of all its samples: a micro-batch
    too small to show every task does not push the few that it shows to all experts. Logged are the term,
    `loss_balance`, and `expert_use`, the share of the experts that were chosen at all.

    Args:
        weight: Weight of the term.

    Raises:
        ConfigError: `weight` is negative, or the network has no experts.
    """

    def __init__(self, weight: float = 0.01) -> None:
        if weight < 0:
            raise ConfigError(f"ExpertBalance: weight={weight} must not be negative.")
        self.weight = weight
        self.handle = None
        self.mixtures: list[MixtureOfExperts] = []
        self.steps: list[Tensor] = []

    def before_stage(self, runner, stage, fresh: bool) -> None:
        """Watches the time steps that the network is given, where routers are trained."""
        if self.handle is not None:
            self.handle.remove()
        mixtures = [module for module in runner.model.modules() if isinstance(module, MixtureOfExperts)]
        if not mixtures:
            raise ConfigError("ExpertBalance: the network has no experts; set model.network.adapter.")
        # Where the router itself is frozen, the term would only pull at the time embedding.
        self.mixtures = [mixture for mixture in mixtures if mixture.router.weight.requires_grad]
        self.handle = self.network_of(runner).register_forward_pre_hook(self._keep)

    def _keep(self, network: nn.Module, args: tuple) -> None:
        self.steps.append(args[1])

    def before_step(self, runner, step) -> None:
        """Forgets passes that were not for training, such as those for an estimate between stages."""
        self.steps = []

    def preview_loss(self, runner, step, losses) -> None:
        """Forgets passes whose samples come once more."""
        self.steps = []

    def before_optim_step(self, runner, step) -> None:
        """Adds the term's gradient, the same in all processes."""
        if not self.mixtures:
            return
        network = self.network_of(runner)
        with torch.enable_grad():
            *_, prompt = network.modulation(gathered(torch.cat(self.steps).float()))
            terms, used = zip(*(balance(mix.router(prompt), mix.top_k) for mix in self.mixtures), strict=True)
            term = self.weight * torch.stack(terms).mean()
        params = [p for p in network.parameters() if p.requires_grad]
        for p, gradient in zip(params, torch.autograd.grad(term, params, allow_unused=True), strict=True):
            if gradient is not None:
                p.grad = gradient if p.grad is None else p.grad.add_(gradient)
        step.log(loss_balance=term.detach(), expert_use=torch.stack(used).mean())


def gathered(steps: Tensor) -> Tensor:
    """The time steps (B,) of all processes, in ascending order, so that sums do not depend on how they were split."""
    if get_world_size() > 1:
        parts = [torch.empty_like(steps) for _ in range(get_world_size())]
        dist.all_gather(parts, steps)
        steps = torch.cat(parts)
    return steps.sort().values


def balance(logits: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """The term of one router, and the share of its experts that were chosen.

    Args:
        logits: (B, n), as the choice is made by them.
        top_k: How many experts a sample uses.
    """
    n = logits.shape[1]
    chosen = torch.zeros_like(logits).scatter_(1, logits.topk(top_k, dim=1).indices, 1.0)
    share = chosen.mean(0) / top_k
    return n * (share * logits.softmax(1).mean(0)).sum(), (share > 0).float().mean()
