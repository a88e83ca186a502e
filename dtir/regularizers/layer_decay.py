"""Generation-sensitive layers: generative updates reach only shallow blocks (docs/method.md, section 3.3)."""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
from mmengine.dist import get_world_size
from torch import Tensor

from dtir.core.errors import ConfigError
from dtir.registry import REGULARIZERS
from dtir.regularizers.base import Regularizer
from dtir.regularizers.depth import num_blocks, parameter_depths

GENERATIVE, RESTORING = "loss_generative", "loss_restoration"
# Blocks with a smaller share take no generative update.
LEAST_SHARE = 1e-3


@REGULARIZERS.register_module()
class LayerDecay(Regularizer):
    """Scales each generative sample's gradient of block l by `w_l = exp(-a l t* / T_ref)`.

    Lu et al., arXiv 2506.21722, Eq. 10, 21.

    t* is the sample's own step, or that of its task. A global degradation, with its large t*, so keeps generation to
    fewer blocks. Applied where generative and restoring samples are mixed, and not to the pre-training. It costs a
    backward pass through the generative samples, about a tenth of the batch, for each of them.

    Args:
        a: Decay per block and step.
        T_ref: Unit of t*.
        coupled: Whether t* plays a part; else `w_l = exp(-a l)`.

    Raises:
        ConfigError: `a` is negative or `T_ref` not positive.
    """

    needs_loss_gradients = True

    def __init__(self, a: float = 0.05, T_ref: float = 1.0, coupled: bool = True) -> None:
        if a < 0 or T_ref <= 0:
            raise ConfigError(f"LayerDecay: a={a} must not be negative and T_ref={T_ref} must be positive.")
        self.a, self.T_ref, self.coupled = a, T_ref, coupled
        self.scaled: list[Tensor] = []
        self.steps: Tensor | None = None

    def before_stage(self, runner, stage, fresh: bool) -> None:
        """Finds out how deep the stage's parameters lie."""
        network = self.network_of(runner)
        depths = parameter_depths(network)
        device = next(network.parameters()).device
        names = {id(p): name for name, p in network.named_parameters()}
        self.wanted = [p for p in runner.model.parameters() if p.requires_grad]
        self.depths = [depths[names[id(p)]].to(device) for p in self.wanted]
        self.active = 0 < stage.settings.generative_share < 1
        self.blocks = torch.arange(num_blocks(network), device=device)
        self.steps = torch.zeros(2, device=device)

    def before_step(self, runner, step) -> None:
        """Starts new sums."""
        self.scaled = [torch.zeros_like(p) for p in self.wanted] if self.active else []
        self.steps = torch.zeros_like(self.steps)

    def after_loss(self, runner, step, losses: dict[str, Tensor]) -> None:
        """Adds up the generative samples' gradients, each with the shares of its own step."""
        if not self.active:
            return
        model, optim, samples = runner.model, runner.optim_wrapper, step.samples
        matched = model.steps_of(samples)[: samples["num_generative"]]
        self.steps += torch.stack([matched.sum().float(), self.steps.new_tensor(float(len(matched)))])
        for term, t in zip(model.generative_terms.unbind(), matched.unbind(), strict=True):
            scaled = optim.scale_loss(term / step.accumulate)
            gradients = torch.autograd.grad(scaled, self.wanted, retain_graph=True, allow_unused=True)
            shares = self.shares(t)
            for total, gradient, depth in zip(self.scaled, gradients, self.depths, strict=True):
                if gradient is not None:
                    total.add_(gradient * shares[depth])

    def shares(self, t: Tensor | float) -> Tensor:
        """`w_l` (L,) of the blocks at t* (a scalar)."""
        share = torch.exp(-self.a * self.blocks * (t / self.T_ref if self.coupled else 1.0))
        return torch.where(share < LEAST_SHARE, 0, share)

    def gradient_policy(self, runner, step, loss_gradients: Mapping[str, Sequence[Tensor]]) -> None:
        """Replaces the gradient of the generative loss; `generative_t`, logged, is the mean t* of the samples."""
        if not self.active:
            return
        if get_world_size() > 1:
            for tensor in (self.steps, *self.scaled):
                dist.all_reduce(tensor)
        torch._foreach_div_(self.scaled, get_world_size() * runner.optim_wrapper.loss_scale)
        total, count = self.steps.unbind()
        step.log(generative_t=total / count.clamp(min=1))
        torch._foreach_copy_(list(loss_gradients[GENERATIVE]), self.scaled)
