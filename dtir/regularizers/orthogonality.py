"""Gradient orthogonality between the generative and the restoring objective (method.md 3.2)."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from dtir.registry import REGULARIZERS
from dtir.regularizers.base import Regularizer
from dtir.regularizers.depth import num_blocks, parameter_depths
from dtir.regularizers.layer_decay import GENERATIVE, RESTORING
from dtir.utils.errors import ConfigError


def shallow_blocks(network, share: float) -> int:
    """How many of a network's ordered blocks are its shallow ones, at least one."""
    return max(1, math.ceil(share * num_blocks(network)))


def check_share(kind: str, share: float) -> None:
    """Raises ConfigError unless the share of shallow blocks lies in (0, 1]."""
    if not 0 < share <= 1:
        raise ConfigError(f"{kind}: shallow={share} must lie in (0, 1]: the share of the blocks that are shallow.")


@REGULARIZERS.register_module()
class OrthogonalProjection(Regularizer):
    """Takes from the generative gradient of the shallow blocks its component along the restoring one.

    The two gradients are those of the objectives' mean losses, reduced over all processes, so that every process
    projects alike. Without one of them, as in pre-training, nothing is taken. `grad_cosine`, logged, is the cosine
    before the projection.

    Args:
        shallow: Share of the ordered blocks that are shallow.

    Raises:
        ConfigError: `shallow` is outside (0, 1].
    """

    needs_loss_gradients = True

    def __init__(self, shallow: float = 0.25) -> None:
        check_share(type(self).__name__, shallow)
        self.shallow = shallow

    def before_stage(self, runner, stage, fresh: bool) -> None:
        """Finds the stage's shallow parameters."""
        network = self.network_of(runner)
        depths = parameter_depths(network)
        names = {id(p): name for name, p in network.named_parameters()}
        limit = shallow_blocks(network, self.shallow)
        wanted = [p for p in runner.model.parameters() if p.requires_grad]
        # Of the projection to gains and shifts, which serves all blocks, no part is shallow by itself.
        self.places = [k for k, p in enumerate(wanted) if (depths[names[id(p)]] < limit).all()]

    def gradient_policy(self, runner, loss_gradients: Mapping[str, Sequence[Tensor]]) -> None:
        """Projects the generative gradient."""
        if not self.places:
            return
        generative, restoring = ([loss_gradients[name][k] for k in self.places] for name in (GENERATIVE, RESTORING))
        product = _sum(torch._foreach_mul(generative, restoring))
        squares = _sum(torch._foreach_mul(restoring, restoring))
        own = _sum(torch._foreach_mul(generative, generative))
        cosine = product / (squares * own).sqrt().clamp(min=torch.finfo(torch.float64).tiny)
        runner.train_loop.logged["grad_cosine"] = cosine.float()
        share = torch.where(squares > 0, product / squares, 0).to(restoring[0].dtype)
        torch._foreach_sub_(generative, torch._foreach_mul(restoring, share))


def _sum(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([x.sum(dtype=torch.float64) for x in tensors]).sum()


@REGULARIZERS.register_module()
class OrthogonalityLoss(Regularizer):
    """Adds `weight ((1 - s) + |d|)` to the loss (Lu et al., arXiv 2506.21722, Eq. 6-9, 17-20).

    s is the mean cosine between the gradients of samples of the same objective, d that between samples of different
    ones. A sample's gradient is that of its loss at the features where the shallow blocks end, so that one backward
    pass gives all; the total is differentiated once more. Of a batch without both objectives only (1 - s) is left, and
    of one without any pair nothing. `orth_same` and `orth_cross`, logged, are s and d.

    Args:
        weight: lambda_2.
        shallow: Share of the ordered blocks that are shallow.
        interval: Every how many iterations the term is added, so many times as strong (lazy regularisation, Karras et
            al., CVPR 2020, appendix B): the second differentiation costs more than the step itself.

    Raises:
        ConfigError: `shallow` is outside (0, 1], or `interval` is not positive.
    """

    def __init__(self, weight: float = 1.0, shallow: float = 0.25, interval: int = 1) -> None:
        check_share(type(self).__name__, shallow)
        if interval < 1:
            raise ConfigError(f"OrthogonalityLoss: interval={interval} must be at least 1.")
        self.weight, self.shallow, self.interval = weight, shallow, interval
        self.features: list[Tensor] = []
        self.handle = None

    def before_stage(self, runner, stage, fresh: bool) -> None:
        """Watches the last shallow block."""
        if self.handle is not None:
            self.handle.remove()
        network = self.network_of(runner)
        name = network.backbone.ordered_blocks()[shallow_blocks(network, self.shallow) - 1]
        self.handle = network.backbone.get_submodule(name).register_forward_hook(self._keep)

    def _keep(self, block, args: tuple, output: Tensor) -> None:
        if output.requires_grad:
            self.features.append(output)

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Forgets passes that were not for training, such as those for an estimate between stages."""
        self.features = []

    def after_loss(self, runner, losses: dict[str, Tensor]) -> None:
        """Adds the term, unless nothing in the shallow blocks is trained."""
        features, self.features = self.features, []
        if not features or runner.train_loop.local_iter % self.interval:
            return
        samples = runner.train_loop.samples
        n, batch = samples["num_generative"], len(samples["task"])
        # Of a block that a recurrent network calls several times, the last call in each forward pass.
        passes = 2 if runner.model.separate_objectives and 0 < n < batch else 1
        calls = len(features) // passes
        gradients = torch.autograd.grad(sum(losses.values()), features[calls - 1 :: calls], create_graph=True)
        same, cross = cosines(torch.cat(gradients), n)
        runner.train_loop.logged.update(orth_same=same.detach(), orth_cross=cross.detach())
        losses["loss_orthogonality"] = self.interval * self.weight * (1 - same + cross.abs())


def cosines(gradients: Tensor, num_generative: int) -> tuple[Tensor, Tensor]:
    """Mean cosine over pairs of the same objective, 1 without any, and over pairs of different ones, 0 without any.

    Args:
        gradients: One per sample (B, ...), those of the generative samples first.
        num_generative: How many these are.

    Returns:
        s and d, scalars.
    """
    unit = F.normalize(gradients.flatten(1).float(), dim=1)
    table = unit @ unit.t()
    n, batch = num_generative, len(unit)
    generative, restoring, cross = table[:n, :n], table[n:, n:], table[:n, n:]
    pairs = n * (n - 1) + (batch - n) * (batch - n - 1)
    within = generative.sum() - generative.trace() + restoring.sum() - restoring.trace()
    same = within / pairs if pairs else torch.ones_like(within)
    return same, cross.mean() if cross.numel() else torch.zeros_like(within)
