"""Gradient orthogonality between the generative and the restoring objective (docs/method.md, section 3.2)."""

import functools
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import torch
from mmengine.dist import get_world_size
from torch import Tensor

from dtir.core.errors import ConfigError
from dtir.registry import REGULARIZERS
from dtir.regularizers.base import Regularizer
from dtir.regularizers.cosines import GradientSums, unit
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
        # A network that checkpoints its activations runs its blocks once more in the backward pass.
        if output.requires_grad and torch._C._current_graph_task_id() == -1:
            self.features.append(output)

    def before_step(self, runner, step) -> None:
        """Forgets passes that were not for training, such as those for an estimate between stages."""
        self.features = []

    def taken_features(self, runner, step) -> list[Tensor]:
        """The features of the present micro-batch, one per forward pass, generative samples first.

        Empty where nothing in the shallow blocks is trained.
        """
        features, self.features = self.features, []
        samples = step.samples
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
    cosine before the projection, and `orth_same` and `orth_cross`, the s and d of `OrthogonalityLoss`, of the samples
    of the first process.

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
        self.num_generative = 0
        self.sums: GradientSums | None = None

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

    def before_step(self, runner, step) -> None:
        """Starts new sums."""
        super().before_step(runner, step)
        self.rows, self.sums = {}, None

    def preview_loss(self, runner, step, losses: dict[str, Tensor]) -> None:
        """Forgets the features of samples that come once more."""
        self.features = []

    def after_loss(self, runner, step, losses: dict[str, Tensor]) -> None:
        """Lets the backward passes to come leave the samples' gradients here."""
        features = self.taken_features(runner, step)
        self._collect()
        self.num_generative = step.samples["num_generative"]
        own = sum(losses[name].requires_grad for name in (GENERATIVE, RESTORING)) // max(1, len(features))
        for index, value in enumerate(features):
            value.register_hook(functools.partial(self._add_row, index, own))

    def _add_row(self, index: int, own: int, gradient: Tensor) -> None:
        """Adds up the gradients of the objectives' losses, which come first, and not those of further terms."""
        rows = self.rows.setdefault(index, [])
        if len(rows) < own:
            rows.append(gradient.detach())

    def gradient_policy(self, runner, step, loss_gradients: Mapping[str, Sequence[Tensor]]) -> None:
        """Projects the generative gradient."""
        if not self.places:
            return
        generative, restoring = ([loss_gradients[name][k] for k in self.places] for name in (GENERATIVE, RESTORING))
        product = _sum(torch._foreach_mul(generative, restoring))
        squares = _sum(torch._foreach_mul(restoring, restoring))
        own = _sum(torch._foreach_mul(generative, generative))
        cosine = product / (squares * own).sqrt().clamp(min=torch.finfo(torch.float64).tiny)
        step.log(grad_cosine=cosine.float())
        self._collect()
        if self.sums is not None:
            same, cross = self.sums.cosines()
            step.log(orth_same=same, orth_cross=cross)
        share = torch.where(squares > 0, product / squares, 0).to(restoring[0].dtype)
        torch._foreach_sub_(generative, torch._foreach_mul(restoring, share))

    def _collect(self) -> None:
        """Adds what the last backward pass left to the step's sums."""
        rows, self.rows = self.rows, {}
        if rows:
            gradients = torch.cat([sum(rows[index]) for index in sorted(rows)]).flatten(1).float()
            sums = GradientSums.of(gradients, self.num_generative)
            self.sums = sums if self.sums is None else self.sums + sums


def _sum(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack([x.sum(dtype=torch.float64) for x in tensors]).sum()


@REGULARIZERS.register_module()
class OrthogonalityLoss(ShallowGradients):
    """Adds `weight ((1 - s) + |d|)` to the loss (Lu et al., arXiv 2506.21722, Eq. 6-9, 17-20).

    s is the mean cosine between the gradients of samples of the same objective, d that between samples of different
    ones, over all samples of an optimiser step, of whatever process and micro-batch. A sample's gradient is that of its
    loss at the features where the shallow blocks end, so that one backward pass gives all; the total is differentiated
    once more, for which the network's convolutions and norms are those of `second_order`. Of a step without both
    objectives only (1 - s) is left, and of one without any pair nothing. Micro-batches each take one forward pass more.
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
        self.sums: GradientSums | None = None
        self.iteration = ExitStack()

    def before_stage(self, runner, stage, fresh: bool) -> None:
        """Watches the last shallow block."""
        super().before_stage(runner, stage, fresh)
        self.values = {}

    def before_step(self, runner, step) -> None:
        """Makes the second derivative cheap, where it will be taken."""
        super().before_step(runner, step)
        self.sums = None
        if self._due(step):
            self.iteration.enter_context(twice_differentiable(runner.model))

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Leaves the network as it was."""
        self.iteration.close()

    def previews(self, step) -> bool:
        """Where the term is added: its slope at a sample depends on the gradients of all samples of the step."""
        return self._due(step)

    def preview_loss(self, runner, step, losses: dict[str, Tensor]) -> None:
        """Adds up the gradients of a micro-batch's samples."""
        features = self.taken_features(runner, step)
        if features and self._due(step):
            sums = self._sums(self._gradients(runner, step, losses, features), step)
            self.sums = sums if self.sums is None else self.sums + sums

    def after_loss(self, runner, step, losses: dict[str, Tensor]) -> None:
        """Adds the term, unless nothing in the shallow blocks is trained."""
        features = self.taken_features(runner, step)
        if features and self._due(step):
            gradients = self._gradients(runner, step, losses, features, create_graph=True)
            if step.accumulate == 1:
                self.sums = self._sums(gradients.detach(), step)
            if step.micro == 0:
                self.sums = self.sums.reduced()
            losses["loss_orthogonality"] = self.interval * self.weight * self._term(gradients, step)
            same, cross = self.sums.cosines()
            between = self.sums.objective_cosine()
            self.values = {"orth_same": same, "orth_cross": cross, "grad_cosine": between}
        step.log(**self.values)

    def _gradients(self, runner, step, losses: dict[str, Tensor], features: list[Tensor], **options) -> Tensor:
        """Gradients (B, F) of the samples, those of the generative ones first.

        They are those of the scaled losses: in half precision, others would be rounded to zero. Only directions matter.
        """
        total = runner.optim_wrapper.scale_loss(sum(losses.values()) / step.accumulate)
        return torch.cat(torch.autograd.grad(total, features, **options)).flatten(1).float()

    @staticmethod
    def _sums(gradients: Tensor, step) -> GradientSums:
        return GradientSums.of(gradients, step.samples["num_generative"])

    def _term(self, gradients: Tensor, step) -> Tensor:
        """The step's term, with this micro-batch's part of its gradient."""
        same, cross = self.sums.cosines()
        units = unit(gradients)
        slope = self.sums.slope(units.detach(), step.samples["num_generative"])
        # The loop takes the mean over micro-batches and processes, of parts that are to be added up.
        part = (slope * units).sum() * (step.accumulate * get_world_size())
        return 1 - same + cross.abs() + part - part.detach()

    def _due(self, step) -> bool:
        return step.iteration % self.interval == 0
