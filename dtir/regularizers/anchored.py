"""The penalty on leaving the parameters of a stage's start, and its strength (docs/method.md, section 3.1)."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from dtir.core.errors import ConfigError
from dtir.models.probing import in_eval_mode
from dtir.regularizers.base import Regularizer
from dtir.regularizers.depth import parameter_depths

# Iterations for which the logged values stand, so that they cost next to nothing.
LOG_INTERVAL = 10


class AnchoredPenalty(Regularizer):
    """Holds parameters near those of the stage's start, each by its importance.

    With d the change since then, it adds the gradient of

        L_reg = weight sum_i w_l(i) (a_i |d_i| + b_i d_i^2 / 2),  w_l = exp(-decay l),

    a sum over all parameters, where l is the block that a parameter belongs to. A subclass estimates importances and
    tells a and b. The gradient is analytic, `torch._foreach` over all parameters. Importances and anchor are kept in
    the checkpoint under `importance`, by parameter name, as float32 tensors of the CPU.

    Logged are `importance`, the term's value, and `importance_ratio`, the norm of its gradient over that of the losses'
    gradient for the same parameters: under some per cent the term does next to nothing, near 1 it stops the training.

    Args:
        weight: Weight of the term, lambda_1.
        before: Stage before which the importances are estimated first.
        decay: Decay of the balance w_l over the blocks, 0 for none.
        reestimate: Whether every later stage estimates anew, with its own start as the anchor.

    Raises:
        ConfigError: An option is outside its range.
    """

    key = "importance"

    def __init__(self, weight: float, before: str, decay: float, reestimate: bool) -> None:
        if weight < 0 or decay < 0:
            raise ConfigError(f"{type(self).__name__}: weight={weight} and decay={decay} must not be negative.")
        self.weight, self.before, self.decay, self.reestimate = weight, before, decay, reestimate
        self.state: dict[str, dict[str, Tensor]] = {}
        self.active: list[tuple[Tensor, ...]] = []
        self.values: dict[str, Tensor] = {}

    @abstractmethod
    def importances(self, runner, seed_stage: int) -> dict[str, dict[str, Tensor]]:
        """What the checkpoint keeps beside the anchor: float32 CPU tensors by parameter name, under names of their own.

        The network is in evaluation mode.

        Args:
            runner: The runner.
            seed_stage: Number of the stage, for the seeds of what is drawn.
        """

    @abstractmethod
    def coefficients(self, name: str) -> tuple[Tensor, Tensor]:
        """a and b of the formula for a parameter, from `state`."""

    def before_stage(self, runner, stage, fresh: bool) -> None:
        """Estimates, if it is time to, and lays the stage's tensors out on the device."""
        wanted = stage.settings.name == self.before if not self.state else self.reestimate
        if fresh and wanted:
            network = self.network_of(runner)
            anchor = {name: p.detach().cpu().float().clone() for name, p in network.named_parameters()}
            # Without dropout and the noise of routers, which are of a training step.
            with in_eval_mode(network):
                self.state = {**self.importances(runner, stage.index), "anchor": anchor}
        self._lay_out(runner)

    def _lay_out(self, runner) -> None:
        """The stage's parameters with what their gradient needs, on their device."""
        self.active = []
        if not self.state:
            return
        network = self.network_of(runner)
        balances = self._balances(network)
        for name, p in network.named_parameters():
            if not p.requires_grad:
                continue
            first, second = (value * balances[name] for value in self.coefficients(name))
            self.active.append((p, *(x.to(p.device, p.dtype) for x in (self.state["anchor"][name], first, second))))

    def _balances(self, network: nn.Module) -> dict[str, Tensor]:
        """`weight w_l` of each parameter."""
        if not self.decay:
            return {name: torch.tensor(self.weight) for name, _ in network.named_parameters()}
        depths = parameter_depths(network)
        return {name: self.weight * torch.exp(-self.decay * depth) for name, depth in depths.items()}

    @torch.no_grad()
    def before_optim_step(self, runner, step) -> None:
        """Adds the term's gradient to `p.grad`; what is logged is computed now and then."""
        # Parameters that no output depends on have no gradient, and no importance.
        rows = [row for row in self.active if row[0].grad is not None]
        if not rows:
            return
        params, anchors, firsts, seconds = (list(part) for part in zip(*rows, strict=True))
        gradients = [p.grad for p in params]
        change = torch._foreach_sub(params, anchors)
        pull = torch._foreach_mul(seconds, change)
        logs = self.logs(step)
        if logs:
            linear = torch._foreach_mul(torch._foreach_abs(change), firsts)
            value = _total(linear) + _total(torch._foreach_mul(pull, change)) / 2
        torch._foreach_addcmul_(pull, torch._foreach_sign(change), firsts)
        if logs:
            self.values = {"importance": value, "importance_ratio": _norm(pull) / _norm(gradients)}
        step.log(**self.values)
        torch._foreach_add_(gradients, pull)

    def logs(self, step) -> bool:
        """Whether the logged values are computed anew in this step."""
        return step.iteration % LOG_INTERVAL == 0

    def state_dict(self) -> dict:
        """The importances and `anchor`, each by parameter name; empty before the first estimate."""
        return self.state

    def load_state_dict(self, state: Mapping) -> None:
        """Takes back what `state_dict` gave."""
        self.state = dict(state)


def _total(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([x.sum() for x in tensors]).sum()


def _norm(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack(torch._foreach_norm(tensors)).norm().clamp(min=torch.finfo(torch.float32).tiny)
