"""Plain training of a published network, without time steps or a generative objective: the baseline."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor

from dtir.config.values import misfit
from dtir.core.errors import ConfigError
from dtir.core.ranges import NonNegative
from dtir.models.backbones.parts.pictures import decoded_outputs, restored_picture
from dtir.models.backbones.traits import traits_of
from dtir.models.losses import WeightedLosses
from dtir.models.probing import try_backbone
from dtir.registry import BACKBONES, RESTORERS

from .base import Restorer


@RESTORERS.register_module()
class SupervisedRestorer(Restorer):
    """A backbone trained on pairs alone, in its published recipe.

    Args:
        backbone: Config of the network.
        tasks: Names of the degradations, in the order of the dataset's tasks.
        losses: Configs of losses, each with an optional `weight` (1 by default); they are summed.
        deep_supervision: Whether every output of the network that is a picture of the target's shape is compared with
            the target, or the final one alone.
        tile: As in `Restorer`.
        tile_overlap: As in `Restorer`.
        data_preprocessor: As in `Restorer`.

    Raises:
        ConfigError: No loss is given, a weight is no number of at least 0, or the network does not restore a picture
            of any size (`try_backbone`).
    """

    keys_of_parts: ClassVar[Mapping[str, Sequence[str]]] = {"losses": ("weight",)}

    def __init__(
        self,
        backbone: dict,
        tasks: Sequence[str],
        losses: Sequence[dict] = ({"type": "L1Loss"},),
        deep_supervision: bool = True,
        tile: int | None = None,
        tile_overlap: int = 32,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(tasks, 0, tile, tile_overlap, data_preprocessor)
        if not losses:
            raise ConfigError("model.losses is empty; name at least one loss, such as dict(type='L1Loss').")
        for index, loss in enumerate(losses):
            problem = misfit(loss.get("weight", 1.0), NonNegative, f"model.losses[{index}].weight")
            if problem:
                raise ConfigError(str(problem))
        self.backbone = BACKBONES.build(backbone)
        try_backbone(self.backbone)
        self.deep_supervision = deep_supervision
        weights = [loss.get("weight", 1.0) for loss in losses]
        self.criterion = WeightedLosses([{k: v for k, v in loss.items() if k != "weight"} for loss in losses], weights)

    @property
    def num_timesteps(self) -> int:
        """0: there is no time."""
        return 0

    def restore(self, lq: Tensor, t: Tensor) -> Tensor:
        """The restored pictures (B, 3, H, W) of `lq`; `t` plays no part."""
        return restored_picture(self.backbone, lq)

    def losses(self, lq: Tensor, samples: dict) -> dict[str, Tensor]:
        """`loss_restoration`, summed over losses and outputs.

        Raises:
            ConfigError: The stage asks for generative samples, or no output has the sides of GT.
        """
        self.refuse_generative(samples)
        gt = samples["gt"]
        outputs = decoded_outputs(self.backbone, lq) if self.deep_supervision else [restored_picture(self.backbone, lq)]
        alike = [out for out in outputs if out.shape == gt.shape]
        if not alike:
            sides = [f"{x.shape[-1]}x{x.shape[-2]}" for x in (lq, gt, outputs[0])]
            raise ConfigError(
                "of LQ {} and GT {}, {name} restores {}: it has a scale of {scale}, and GT is to have {scale} times "
                "the sides of LQ. Use pairs of that kind, or a network of another scale.".format(
                    *sides, name=type(self.backbone).__name__, scale=traits_of(self.backbone).scale
                )
            )
        return {"loss_restoration": sum(self.criterion(out, gt) for out in alike).mean()}
