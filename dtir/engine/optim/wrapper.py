"""The optimiser with mixed precision, gradient clipping, and a state of plain types."""

from contextlib import AbstractContextManager
from typing import Literal

import torch
from mmengine.optim import OptimWrapper
from torch import Tensor

from dtir.core.errors import CheckpointError, ConfigError
from dtir.core.ranges import Positive
from dtir.registry import OPTIM_WRAPPERS

AMP_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


@OPTIM_WRAPPERS.register_module()
class StagedOptimWrapper(OptimWrapper):
    """Optimiser steps for `StagedTrainLoop`, on CPU and GPU alike.

    Unlike mmengine's `AmpOptimWrapper` it does not need a GPU, and unlike its `OptimWrapper` it reads no value back
    from the device in a step: the gradient norm stays a tensor (`grad_norm`) until somebody logs it.

    Args:
        optimizer: A `torch.optim.Optimizer`.
        amp: None (float32), "bf16" (autocast, no loss scale) or "fp16" (autocast with a dynamic loss scale).
        clip_grad: Largest total gradient norm, or None.

    Attributes:
        lr: The present learning rate, before the parameter groups' own factors.

    Raises:
        ConfigError: `amp` is none of these.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        amp: Literal["bf16", "fp16"] | None = None,
        clip_grad: Positive | None = None,
    ):
        super().__init__(optimizer)
        if amp is not None and amp not in AMP_TYPES:
            raise ConfigError(f"optim_wrapper.amp must be None, 'bf16' or 'fp16', got {amp!r}.")
        self.amp = amp
        self.max_norm = clip_grad
        self.grad_norm: Tensor | None = None
        device = optimizer.param_groups[0]["params"][0].device.type
        self.device_type = device
        self.scaler = torch.amp.GradScaler(device, enabled=amp == "fp16")
        self.lr: float = optimizer.defaults["lr"]
        # What the groups' rates were built with, beside the optimiser's own.
        self.lr_factors = [group["lr"] / self.lr if self.lr else 1.0 for group in optimizer.param_groups]

    def autocast(self) -> AbstractContextManager:
        """The autocast context of the forward pass."""
        return torch.autocast(self.device_type, dtype=AMP_TYPES.get(self.amp), enabled=self.amp is not None)

    def scale_loss(self, loss: Tensor) -> Tensor:
        """The loss times the loss scale (1 without fp16)."""
        return self.scaler.scale(loss)

    @property
    def loss_scale(self) -> float:
        """The present loss scale; 1 without fp16."""
        return self.scaler.get_scale()

    def unscale(self) -> None:
        """Divides the gradients by the loss scale; called once, before any gradient policy."""
        self.scaler.unscale_(self.optimizer)

    def apply_gradients(self) -> None:
        """Clips, steps (skipped by the scaler where an fp16 gradient overflowed), and clears the gradients."""
        if self.max_norm is not None:
            params = [p for group in self.optimizer.param_groups for p in group["params"] if p.grad is not None]
            self.grad_norm = torch.nn.utils.clip_grad_norm_(params, self.max_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def set_lr(self, lr: float) -> None:
        """Sets the learning rate, multiplied by each parameter group's own factor (`paramwise_cfg`)."""
        self.lr = lr
        for group, factor in zip(self.optimizer.param_groups, self.lr_factors, strict=True):
            group["lr"] = lr * factor
        if self.base_param_settings is not None:
            self.base_param_settings["lr"] = lr

    def reset_state(self) -> None:
        """Forgets the optimiser's moments, as at the start of a stage."""
        self.optimizer.state.clear()

    def state_dict(self) -> dict:
        """Optimiser state and loss scale: tensors and plain types only."""
        return {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load_state_dict(self, state_dict: dict) -> None:
        """Loads what `state_dict` gave.

        Raises:
            CheckpointError: The optimiser of the checkpoint has other groups of parameters.
        """
        try:
            self.optimizer.load_state_dict(state_dict["optimizer"])
        except ValueError as error:
            raise CheckpointError(
                f"the optimiser's state is of other groups of parameters than optim_wrapper makes ({error}): resume "
                "with the optimizer and paramwise_cfg that the run began with. One in which all parameters decayed "
                "alike needs paramwise_cfg=dict(bias_decay_mult=1.0, norm_decay_mult=1.0, flat_decay_mult=1.0, "
                "modulation_decay_mult=1.0)."
            ) from error
        self.scaler.load_state_dict(state_dict["scaler"])
