"""What every restorer is: mmengine's entry, tasks with their time steps, and prediction in tiles."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from dtir.core.errors import ConfigError
from dtir.imaging.self_ensemble import averaged_over_flips, averaged_over_symmetries
from dtir.imaging.tiling import tiled_apply
from dtir.models.backbones.traits import Traits, traits_of


class Restorer(BaseModel, ABC):
    """A model that restores degraded pictures of named tasks. Its `backbone` is the published network in it.

    Args:
        tasks: Names of the degradations, in the order of the dataset's tasks.
        initial_t: Time step of every task at first; negative means not matched yet.
        tile: Side of the tiles in prediction, None for whole pictures.
        tile_overlap: Pixels that tiles share.
        data_preprocessor: Config; `RestorationDataPreprocessor` by default.

    Attributes:
        estimator: Tells the task from a degraded picture (`TaskEstimator`), None where none was trained.
        auto_task: Whether prediction uses it in place of the samples' tasks.
        self_ensemble: Whether prediction is the mean over the eight flips and turns of the picture.
        flips_up_to: Pixels up to which it is the mean over the four flips, where it is not that over all eight: worth
            its time of small pictures alone.
        tiles_alone: Whether `apply_in_tiles` restores each tile by itself.

    Raises:
        ConfigError: A task is named twice or none is given.
    """

    backbone: nn.Module
    tiles_alone = True

    def __init__(
        self,
        tasks: Sequence[str],
        initial_t: int,
        tile: int | None = None,
        tile_overlap: int = 32,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or {"type": "dtir.RestorationDataPreprocessor"})
        if not tasks or len(set(tasks)) != len(tasks):
            raise ConfigError(f"model.tasks must name at least one task and none twice, got {list(tasks)}.")
        self.tasks = tuple(tasks)
        self.tile = tile
        self.tile_overlap = tile_overlap
        self.estimator: nn.Module | None = None
        self.auto_task = False
        self.self_ensemble = False
        self.flips_up_to = 0
        self.register_buffer("matched_t", torch.full((len(self.tasks),), initial_t))

    @property
    def traits(self) -> Traits:
        """What the backbone declares of itself."""
        return traits_of(self.backbone)

    @property
    @abstractmethod
    def num_timesteps(self) -> int:
        """T, the noisiest time step; 0 for a restorer that knows no time."""

    @abstractmethod
    def restore(self, lq: Tensor, t: Tensor) -> Tensor:
        """Degraded (B, 3, H, W) in [0, 1] and steps (B,) to restored pictures of that size, not clipped."""

    @abstractmethod
    def losses(self, lq: Tensor, samples: dict) -> dict[str, Tensor]:
        """Scalars by name, beginning with `loss`; their sum is the mean over the samples."""

    def apply_in_tiles(self, fn: Callable[[Tensor], Tensor], image: Tensor, *args, **options) -> Tensor:
        """Applies what restores a tile to a whole picture; arguments and result are those of `tiled_apply`."""
        return tiled_apply(fn, image, *args, **options)

    def refuse_generative(self, samples: dict) -> None:
        """For restorers without a generative objective.

        Raises:
            ConfigError: The stage asks for generative samples.
        """
        if samples["num_generative"]:
            raise ConfigError(
                f"{type(self).__name__} has no generative objective; set generative_share=0 in its stages."
            )

    def task_order(self) -> list[int]:
        """Task indices by ascending t*; equal steps keep the order of `tasks`."""
        steps = self.matched_t.tolist()
        return sorted(range(len(steps)), key=lambda k: steps[k])

    def timestep_of(self, task: Tensor) -> Tensor:
        """The matched steps (B,) of task indices (B,); 0 where a task was not matched."""
        return self.matched_t[task].clamp(min=0)

    def forward(self, inputs: Tensor | list[Tensor], data_samples: dict | list | None = None, mode: str = "tensor"):
        """mmengine's entry.

        Args:
            inputs: LQ (B, 3, H, W) in [0, 1]; in mode "predict" a list of uint8 (3, H, W).
            data_samples: As the data preprocessor gives them.
            mode: "loss" gives `losses`, "predict" the samples with `pred` (3, H, W) in [0, 1] and `lq`, "tensor" the
                output of the network.
        """
        if mode == "loss":
            return self.losses(inputs, data_samples)
        if mode == "predict":
            return [self._predict(lq, sample) for lq, sample in zip(inputs, data_samples, strict=True)]
        return self.restore(inputs, self.timestep_of(data_samples["task"]))

    def _predict(self, lq: Tensor, sample: dict) -> dict:
        device = self.matched_t.device
        picture = lq[None].to(device) / 255
        task = self.estimator(picture).argmax(1) if self.auto_task else torch.tensor([sample["task"]], device=device)
        if int(task) >= len(self.tasks):
            # The estimator's further class, clean: there is nothing to do.
            return {**sample, "lq": lq, "pred": picture[0]}
        t = self.timestep_of(task)
        restore = self._averaged(picture)
        restored = self.apply_in_tiles(
            lambda tiles: restore(tiles, t.expand(len(tiles))),
            picture,
            self.tile,
            self.tile_overlap,
            multiple=self.traits.size_multiple,
        )
        return {**sample, "lq": lq, "pred": restored[0].clamp(0, 1)}

    def _averaged(self, picture: Tensor) -> Callable[[Tensor, Tensor], Tensor]:
        if self.self_ensemble:
            return functools.partial(averaged_over_symmetries, self.restore)
        if picture.shape[-2] * picture.shape[-1] <= self.flips_up_to:
            return functools.partial(averaged_over_flips, self.restore)
        return self.restore
