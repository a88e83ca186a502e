"""Parameter importance: what pre-training learned is kept where it matters (docs/method.md, section 3.1)."""

from collections.abc import Mapping

import torch
import torch.distributed as dist
from mmengine.dist import get_rank, get_world_size
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.registry import REGULARIZERS
from dtir.regularizers.anchored import AnchoredPenalty
from dtir.regularizers.estimation import degraded_batches, generative_batches

ORDERS, TARGETS = ("second", "fisher"), ("loss", "output")


@REGULARIZERS.register_module()
class ParameterImportance(AnchoredPenalty):
    """The penalty by per-sample gradients (Lu et al., arXiv 2506.21722, Eq. 3-5, 14-16, 23-27; docs/method.md).

    With per-sample gradients g_k on M samples of the earlier task, a = |mean_k g_k| and b = mean_k g_k^2, the first two
    terms of the expansion of that task's loss.

    Args:
        weight: lambda_1.
        before: Stage before which the importances are estimated first.
        order: "second" for both terms, "fisher" for the second alone (elastic weight consolidation).
        target: "loss" for the gradient of the generative loss at a random step, "output" for that of the squared norm
            of what the network makes of degraded pictures (memory-aware synapses). The latter is a sum over pixels: its
            gradients are thousands of times larger, and `weight` has to be as much smaller.
        num_samples: M.
        chunk: Samples whose gradients are held at once.
        decay: Decay of the balance w_l = exp(-decay l) over the blocks, 0 for none.
        reestimate: Whether every later stage estimates anew, with its own start as the anchor.

    Raises:
        ConfigError: An option is not one of those named or outside its range.
    """

    def __init__(
        self,
        weight: float = 0.2,
        before: str = "finetune",
        order: str = "second",
        target: str = "loss",
        num_samples: int = 64,
        chunk: int = 4,
        decay: float = 0.05,
        reestimate: bool = True,
    ) -> None:
        super().__init__(weight, before, decay, reestimate)
        for name, value, known in (("order", order, ORDERS), ("target", target, TARGETS)):
            if value not in known:
                raise ConfigError(f"ParameterImportance: {name}='{value}'; expected one of {', '.join(known)}.")
        if num_samples < 1 or chunk < 1:
            raise ConfigError(f"ParameterImportance: num_samples={num_samples} and chunk={chunk} must be at least 1.")
        self.order, self.target, self.num_samples, self.chunk = order, target, num_samples, chunk

    def importances(self, runner, seed_stage: int) -> dict[str, dict[str, Tensor]]:
        """`mean` and `square` of the per-sample gradients."""
        mean, square = self.estimate(runner, seed_stage)
        return {"mean": mean, "square": square}

    @override
    def coefficients(self, name: str) -> tuple[Tensor, Tensor]:
        mean, square = self.state["mean"][name].abs(), self.state["square"][name]
        return (torch.zeros_like(mean) if self.order == "fisher" else mean), square

    def estimate(self, runner, seed_stage: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Mean and mean square of the per-sample gradients, over all processes, by parameter name."""
        model = runner.model
        network = self.network_of(runner)
        params = {name: p.detach() for name, p in network.named_parameters()}
        sums = {name: torch.zeros_like(p) for name, p in params.items()}
        squares = {name: torch.zeros_like(p) for name, p in params.items()}
        mine = range(get_rank(), self.num_samples, get_world_size())
        chunks = (mine[i : i + self.chunk] for i in range(0, len(mine), self.chunk))
        draw = degraded_batches if self.target == "output" else generative_batches
        for batch in draw(runner, seed_stage, chunks, self.num_samples):
            gradients = per_sample_gradients(network, params, self._objective(model), batch)
            for name, g in gradients.items():
                sums[name] += g.sum(0)
                squares[name] += g.square().sum(0)
        for tensor in (*sums.values(), *squares.values()):
            if get_world_size() > 1:
                dist.all_reduce(tensor)
            tensor.div_(self.num_samples)
        return tuple({name: value.cpu().float() for name, value in part.items()} for part in (sums, squares))

    def _objective(self, model):
        """A scalar for one sample: (network output (3, H, W), what it is compared with) to the target."""
        if self.target == "output":
            return lambda out, batch: out.square().sum() / 2
        loss = model.generative_loss
        # The residual of a noised picture is to be the noise.
        return lambda out, batch: loss((batch["x"] - out)[None], batch["noise"][None]).sum()


def per_sample_gradients(
    network: nn.Module, params: Mapping[str, Tensor], objective, batch: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """The gradient of every sample's own objective, vectorised.

    Args:
        network: A conditioned network, called as `network(x, t)`.
        params: Its parameters by name.
        objective: `(output (3, H, W), the sample) -> scalar`.
        batch: `x` (B, 3, H, W), `t` (B,), and what the objective needs, one row per sample.

    Returns:
        By parameter name, with a first axis (B) for the samples.
    """

    def one(values: Mapping[str, Tensor], sample: Mapping[str, Tensor]) -> Tensor:
        out = functional_call(network, dict(values), (sample["x"][None], sample["t"][None]))
        return objective(out[0], sample)

    return vmap(grad(one), in_dims=(None, 0))(dict(params), dict(batch))
