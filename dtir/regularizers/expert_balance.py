"""Load balancing of mixture-of-experts adapters (method.md 5)."""

import torch
from torch import Tensor, nn

from dtir.core.errors import ConfigError
from dtir.models.adapters import MixtureOfExperts
from dtir.registry import REGULARIZERS
from dtir.regularizers.base import Regularizer


@REGULARIZERS.register_module()
class ExpertBalance(Regularizer):
    """Adds `weight * mean over adapters of n sum_e f_e P_e` to the loss (Fedus et al., JMLR 2022, Eq. 4-6).

    Of a forward pass, f_e is the share of the choices that fell on expert e, and P_e the mean of the router's softmax
    over all n experts. The term is 1 where all experts are used alike. `expert_use`, logged, is the share of the
    experts that were chosen at all.

    Args:
        weight: Of the term.

    Raises:
        ConfigError: `weight` is negative, or the network has no experts.
    """

    def __init__(self, weight: float = 0.01) -> None:
        if weight < 0:
            raise ConfigError(f"ExpertBalance: weight={weight} must not be negative.")
        self.weight = weight
        self.handles: list = []
        self.logits: list[tuple[Tensor, int]] = []

    def before_stage(self, runner, stage, fresh: bool) -> None:
        """Watches the routers."""
        for handle in self.handles:
            handle.remove()
        mixtures = [module for module in runner.model.modules() if isinstance(module, MixtureOfExperts)]
        if not mixtures:
            raise ConfigError("ExpertBalance: the network has no experts; set model.network.adapter.")
        self.handles = [mixture.router.register_forward_hook(self._keep(mixture.top_k)) for mixture in mixtures]

    def _keep(self, top_k: int):
        def hook(router: nn.Module, args: tuple, logits: Tensor) -> None:
            # Where the router itself is frozen, the term would only pull at the time embedding.
            if logits.requires_grad and router.weight.requires_grad:
                self.logits.append((logits, top_k))

        return hook

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Forgets passes that were not for training, such as those for an estimate between stages."""
        self.logits = []

    def after_loss(self, runner, losses: dict[str, Tensor]) -> None:
        """Adds the term, where routers are trained."""
        routed, self.logits = self.logits, []
        if not routed:
            return
        terms, used = zip(*(balance(logits, top_k) for logits, top_k in routed), strict=True)
        losses["loss_balance"] = self.weight * torch.stack(terms).mean()
        runner.train_loop.logged["expert_use"] = torch.stack(used).mean()


def balance(logits: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """The term of one router, and the share of its experts that were chosen.

    Args:
        logits: (B, n).
        top_k: How many experts a sample uses.
    """
    n = logits.shape[1]
    chosen = torch.zeros_like(logits).scatter_(1, logits.topk(top_k, dim=1).indices, 1.0)
    share = chosen.mean(0) / top_k
    return n * (share * logits.softmax(1).mean(0)).sum(), (share > 0).float().mean()
