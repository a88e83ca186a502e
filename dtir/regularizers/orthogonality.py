"""Gradient orthogonality between the generative and the restoring objective (method.md 3.2)."""

import functools
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor
from torch.nn import functional as F

from dtir.core.errors import ConfigError
from dtir.registry import REGULARIZERS
from dtir.regularizers.base import Regularizer
from dtir.regularizers.depth import num_blocks, parameter_depths
from dtir.regularizers.layer_decay import GENERATIVE, RESTORING
from dtir.regularizers.second_order import twice_differentiable


def shallow_blocks(network, share: float) -> int:
    """How many of a network's ordered blocks are its shallow ones, at least one."""
    return max(1, math.ceil(share * num_blocks(network)))


def check_share(kind: str, share: float) -> None:
    """Raises ConfigError unless the share of shallow blocks lies in (0, 1]."""
    if not 0 < share <= 1:
        raise ConfigError(f"{kind}: shallow={share} must lie in (0, 1]: the share of the blocks that are shallow.")


class ShallowGradients(Regularizer):
    """Sees the features at which the shallow blocks end, whose gradient is a gradient of each sample's own loss.

    Args:
        shallow: Share of the ordered blocks that are shallow.

    Raises:
        ConfigError: `shallow` is outside (0, 1].
    """

    def __init__(self, shallow: float) -> None:
        check_share(type(self).__name__, shallow)
        self.shallow = shallow
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

    def taken_features(self, runner) -> list[Tensor]:
        """The features of the present micro-batch, one per forward pass, generative samples first.

        Empty where nothing in the shallow blocks is trained.
        """
        features, self.features = self.features, []
        samples = runner.train_loop.samples
        mixed = 0 < samples["num_generative"] < len(samples["task"])
        # Of a block that a recurrent network calls several times, the last call in each forward pass.
        calls = len(features) // (2 if runner.model.separate_objectives and mixed else 1)
        return features[calls - 1 :: calls] if features else []


@REGULARIZERS.register_module()
class OrthogonalProjection(ShallowGradients):
    """Takes from the generative gradient of the shallow blocks its component along the restoring one.

    The two gradients are those of the objectives' mean losses, reduced over all processes, so that every process
    projects alike. Without one of them, as in pre-training, nothing is taken. It comes after the regularizers that
    change gradients otherwise, such as `LayerDecay`, wherever it stands among them. Logged are `grad_cosine`, the
    cosine before the projection, and `orth_same` and `orth_cross`, the s and d of `OrthogonalityLoss`, of the last
    micro-batch of the first process.

    Args:
        shallow: Share of the ordered blocks that are shallow.

    Raises:
        ConfigError: `shallow` is outside (0, 1].
    """

    needs_loss_gradients = True
    priority = "BELOW_NORMAL"

    def __init__(self, shallow: float = 0.25) -> None:
        super().__init__(shallow)
        self.rows: dict[int, list[Tensor]] = {}

    def before_stage(self, runner, stage, fresh: bool) -> None:
        """Finds the stage's shallow parameters."""
        super().before_stage(runner, stage, fresh)
        network = self.network_of(runner)
        depths = parameter_depths(network)
        names = {id(p): name for name, p in network.named_parameters()}
        limit = shallow_blocks(network, self.shallow)
        wanted = [p for p in runner.model.parameters() if p.requires_grad]
        # Of the projection to gains and shifts, which serves all blocks, no part is shallow by itself.
        self.places = [k for k, p in enumerate(wanted) if (depths[names[id(p)]] < limit).all()]

    def after_loss(self, runner, losses: dict[str, Tensor]) -> None:
        """Lets the backward passes to come leave the samples' gradients here."""
        features, self.rows = self.taken_features(runner), {}
        own = sum(losses[name].requires_grad for name in (GENERATIVE, RESTORING)) // max(1, len(features))
        for index, value in enumerate(features):
            value.register_hook(functools.partial(self._add_row, index, own))

    def _add_row(self, index: int, own: int, gradient: Tensor) -> None:
        """Adds up the gradients of the objectives' losses, which come first, and not those of further terms."""
        rows = self.rows.setdefault(index, [])
        if len(rows) < own:
            rows.append(gradient.detach())

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
        self._log_samples(runner)
        share = torch.where(squares > 0, product / squares, 0).to(restoring[0].dtype)
        torch._foreach_sub_(generative, torch._foreach_mul(restoring, share))

    def _log_samples(self, runner) -> None:
        rows, self.rows = self.rows, {}
        if rows:
            gradients = torch.cat([sum(rows[index]) for index in sorted(rows)])
            same, cross = cosines(gradients, runner.train_loop.samples["num_generative"])
            runner.train_loop.logged.update(orth_same=same, orth_cross=cross)


def _sum(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([x.sum(dtype=torch.float64) for x in tensors]).sum()


@REGULARIZERS.register_module()
class OrthogonalityLoss(ShallowGradients):
    """Adds `weight ((1 - s) + |d|)` to the loss (Lu et al., arXiv 2506.21722, Eq. 6-9, 17-20).

    s is the mean cosine between the gradients of samples of the same objective, d that between samples of different
    ones. A sample's gradient is that of its loss at the features where the shallow blocks end, so that one backward
    pass gives all; the total is differentiated once more, for which the network's convolutions and norms are those of
    `second_order`. Of a batch without both objectives only (1 - s) is left, and of one without any pair nothing.
    Logged are s and d, `orth_same` and `orth_cross`, and `grad_cosine`, the cosine between the sums of the two
    objectives' gradients at these features.

    Args:
        weight: lambda_2.
        shallow: Share of the ordered blocks that are shallow.
        interval: Every how many iterations the term is added, so many times as strong (lazy regularisation, Karras et
            al., CVPR 2020, appendix B). What is logged stands until the next time.

    Raises:
        ConfigError: `shallow` is outside (0, 1], or `interval` is not positive.
    """

    def __init__(self, weight: float = 1.0, shallow: float = 0.25, interval: int = 1) -> None:
        super().__init__(shallow)
        if interval < 1:
            raise ConfigError(f"OrthogonalityLoss: interval={interval} must be at least 1.")
        self.weight, self.interval = weight, interval
        self.values: dict[str, Tensor] = {}
        self.iteration = ExitStack()

    def before_stage(self, runner, stage, fresh: bool) -> None:
        """Watches the last shallow block."""
        super().before_stage(runner, stage, fresh)
        self.values = {}

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        """Makes the second derivative cheap, where it will be taken."""
        super().before_train_iter(runner, batch_idx, data_batch)
        if self._due(runner):
            self.iteration.enter_context(twice_differentiable(runner.model))

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Leaves the network as it was."""
        self.iteration.close()

    def after_loss(self, runner, losses: dict[str, Tensor]) -> None:
        """Adds the term, unless nothing in the shallow blocks is trained."""
        features = self.taken_features(runner)
        if features and self._due(runner):
            gradients = torch.cat(torch.autograd.grad(sum(losses.values()), features, create_graph=True))
            n = runner.train_loop.samples["num_generative"]
            same, cross = cosines(gradients, n)
            losses["loss_orthogonality"] = self.interval * self.weight * (1 - same + cross.abs())
            flat = gradients.detach().flatten(1).float()
            between = F.cosine_similarity(flat[:n].sum(0), flat[n:].sum(0), dim=0)
            self.values = {"orth_same": same.detach(), "orth_cross": cross.detach(), "grad_cosine": between}
        runner.train_loop.logged.update(self.values)

    def _due(self, runner) -> bool:
        return runner.train_loop.local_iter % self.interval == 0


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
