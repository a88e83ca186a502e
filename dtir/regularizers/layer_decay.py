"""Generation-sensitive layers: generative updates reach only shallow blocks (method.md 3.3)."""

from collections.abc import Mapping, Sequence

import torch
import torch.distributed as dist
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
    """Scales the generative gradient of block l by `w_l = exp(-a l t* / T_ref)` (arXiv 2506.21722, Eq. 10, 21).

    t* is the mean matched step of the tasks of the step's generative samples, over all processes. A global degradation,
    with its large t*, so keeps generation to fewer blocks. Applied where generative and restoring samples are mixed,
    and not to the pre-training.

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
        self.steps: Tensor | None = None

    def before_stage(self, runner, stage, fresh: bool) -> None:
        """Finds out how deep the stage's parameters lie."""
        network = self.network_of(runner)
        depths = parameter_depths(network)
        device = next(network.parameters()).device
        names = {id(p): name for name, p in network.named_parameters()}
        wanted = [p for p in runner.model.parameters() if p.requires_grad]
        self.depths = [depths[names[id(p)]].to(device) for p in wanted]
        self.active = 0 < stage.settings.generative_share < 1
        self.blocks = torch.arange(num_blocks(network), device=device)
        self.steps = torch.zeros(2, device=device)

    def after_loss(self, runner, losses: dict[str, Tensor]) -> None:
        """Adds up the matched steps of the generative samples."""
        samples = runner.train_loop.samples
        matched = runner.model.timestep_of(samples["task"][: samples["num_generative"]])
        self.steps += torch.stack([matched.sum().float(), self.steps.new_tensor(float(len(matched)))])

    def shares(self, t: Tensor | float) -> Tensor:
        """`w_l` (L,) of the blocks at t* (a scalar)."""
        share = torch.exp(-self.a * self.blocks * (t / self.T_ref if self.coupled else 1.0))
        return torch.where(share < LEAST_SHARE, 0, share)

    def gradient_policy(self, runner, loss_gradients: Mapping[str, Sequence[Tensor]]) -> None:
        """Scales the gradient of the generative loss."""
        if _processes() > 1:
            dist.all_reduce(self.steps)
        total, count = self.steps.unbind()
        t = total / count.clamp(min=1)
        self.steps = torch.zeros_like(self.steps)
        if not self.active:
            return
        shares = self.shares(t)
        runner.train_loop.logged["generative_t"] = t
        for gradient, depth in zip(loss_gradients[GENERATIVE], self.depths, strict=True):
            gradient.mul_(shares[depth])


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1
