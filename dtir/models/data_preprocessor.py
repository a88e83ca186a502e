"""From collated uint8 batches to network inputs on the device."""

import torch
from mmengine.model import BaseDataPreprocessor
from torch import Tensor

from dtir.registry import RESTORERS


@RESTORERS.register_module()
class RestorationDataPreprocessor(BaseDataPreprocessor):
    """Moves pictures to the device as uint8 and scales them there to [0, 1].

    In training, the generative samples are put first: the network then sees one batch, and each objective is a slice of
    it whose length is known without reading from the device.

    Args:
        channels_last: Memory layout of training batches.
    """

    def __init__(self, channels_last: bool = True) -> None:
        super().__init__(non_blocking=True)
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format

    def forward(self, data: dict, training: bool = False) -> dict:
        """Prepares a batch.

        Args:
            data: `inputs` and `data_samples` as collated: stacked tensors in training, lists otherwise.
            training: Whether the batch is for training.

        Returns:
            In training `inputs` LQ (B, 3, H, W) in [0, 1] and `data_samples` with `gt` (B, 3, H, W) in [0, 1], `task`
            (B,), `step` (B,), -1 where a sample has no time step of its own, `num_generative` (int), `slots` (B,), the
            places of the samples in the batch as drawn, and `step_size` (int), how many those are; where the dataset
            tells them, also `damages` (B, number of tasks). Otherwise `inputs` is a list of uint8 (3, H, W), and
            `data_samples` a list of one dict per picture.
        """
        if training:
            return self._training_batch(data)
        samples = data["data_samples"]
        rows = zip(*samples.values(), strict=True)
        return {"inputs": data["inputs"], "data_samples": [dict(zip(samples, row, strict=True)) for row in rows]}

    def _training_batch(self, data: dict) -> dict:
        samples = data["data_samples"]
        generative = torch.as_tensor(samples["generative"])
        slots = torch.argsort(generative.logical_not(), stable=True)
        num_generative = int(generative.sum())
        task = torch.as_tensor(samples["task"])
        batch = {"lq": data["inputs"], "gt": samples["gt"], "task": task, "step": torch.full_like(task, -1)}
        batch |= {key: torch.as_tensor(samples[key]) for key in ("step", "damages") if key in samples}
        if 0 < num_generative < len(slots):
            batch = {key: values[slots] for key, values in batch.items()}
        batch = self.cast_data({**batch, "slots": slots})
        lq, gt = self._scale(batch.pop("lq")), self._scale(batch.pop("gt"))
        about = {"num_generative": num_generative, "step_size": len(slots)}
        return {"inputs": lq, "data_samples": {"gt": gt, **batch, **about}}

    def _scale(self, pictures: Tensor) -> Tensor:
        return pictures.to(torch.float32, memory_format=self.memory_format).div_(255)
