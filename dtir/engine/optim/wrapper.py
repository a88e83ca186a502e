"""The optimiser with mixed precision, gradient clipping, skipped steps, and a state of plain types."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import torch
import torch.distributed as dist
from mmengine.optim import OptimWrapper
from torch import Tensor
from torch.distributed.tensor import DTensor

from dtir.core.errors import CheckpointError, ConfigError, DtirError
from dtir.core.ranges import Positive
from dtir.engine.optim.skipping import SkipOptions, StepSkipper
from dtir.engine.sharding import optimizer_state_like
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
        skip: Keys of `SkipOptions`: which steps are not taken. None takes all; otherwise every step reads its
            gradient's norm back from the device.

    Attributes:
        lr: The present learning rate, before the parameter groups' own factors.
        skipper: Decides and counts skipped steps; None without `skip`.
        averages: Whether the optimiser keeps an average of the weights beside those that train (schedule-free ones).

    Raises:
        ConfigError: `amp` is none of these, or `skip` has an unknown key or a value out of its range.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        amp: Literal["bf16", "fp16"] | None = None,
        clip_grad: Positive | None = None,
        skip: dict | None = None,
    ):
        super().__init__(optimizer)
        if amp is not None and amp not in AMP_TYPES:
            raise ConfigError(f"optim_wrapper.amp must be None, 'bf16' or 'fp16', got {amp!r}.")
        self.amp = amp
        self.max_norm = clip_grad
        self.skipper = None if skip is None else StepSkipper(SkipOptions.from_config(skip))
        self.grad_norm: Tensor | None = None
        device = optimizer.param_groups[0]["params"][0].device.type
        self.device_type = device
        self.scaler = torch.amp.GradScaler(device, enabled=amp == "fp16")
        self.lr: float = optimizer.defaults["lr"]
        # What the groups' rates were built with, beside the optimiser's own.
        self.lr_factors = [group["lr"] / self.lr if self.lr else 1.0 for group in optimizer.param_groups]
        # Some optimisers count in their groups.
        self._fresh_groups = [_settings(group) for group in optimizer.param_groups]
        self.averages = hasattr(optimizer, "train") and hasattr(optimizer, "eval")
        self._training_weights: list[Tensor] | None = None
        if self.averages:
            optimizer.train()

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
        """Clips, steps (unless an fp16 gradient overflowed, or `skip` says so), and clears the gradients.

        Raises:
            DtirError: Too many steps in a row were skipped.
            ConfigError: The optimiser's step fails.
        """
        params = [p for p in self._parameters() if p.grad is not None]
        if self.max_norm is not None or self.skipper is not None:
            norm = torch.nn.utils.get_total_norm([p.grad for p in params])
            self.grad_norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        if self.skipper is None or not self.skipper.skips(_agreed(self.grad_norm)):
            if self.max_norm is not None:
                torch.nn.utils.clip_grads_with_norm_(params, self.max_norm, norm)
            self._step()
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def _step(self) -> None:
        try:
            self.scaler.step(self.optimizer)
        except (torch.OutOfMemoryError, DtirError):
            raise
        except Exception as error:
            # Only its own step shows what an optimiser cannot do, such as with dense gradients or on this device.
            name, settings = type(self.optimizer).__name__, _settings(self.optimizer.param_groups[0])
            raise ConfigError(
                f"optim_wrapper.optimizer: {name} fails in a step: {type(error).__name__}: {error}. Its settings: "
                f"{', '.join(f'{key}={value!r}' for key, value in settings.items())}. Change them, or take another "
                "optimizer, such as AdamW."
            ) from error

    def set_lr(self, lr: float) -> None:
        """Sets the learning rate, multiplied by each parameter group's own factor (`paramwise_cfg`)."""
        self.lr = lr
        for group, factor in zip(self.optimizer.param_groups, self.lr_factors, strict=True):
            group["lr"] = lr * factor
        if self.base_param_settings is not None:
            self.base_param_settings["lr"] = lr

    def reset_state(self) -> None:
        """Forgets the optimiser's moments and counts, as at the start of a stage; weights that it averages stay where
        their average is."""
        if self.averages:
            self.optimizer.eval()
        self.optimizer.state.clear()
        for group, fresh in zip(self.optimizer.param_groups, self._fresh_groups, strict=True):
            group.update(fresh)
        if self.averages:
            self.optimizer.train()
        if self.skipper is not None:
            self.skipper.forget_norms()

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """For the time of a `with` statement, the weights are the average that the optimiser keeps, if it does.

        Afterwards they have the bits that they had before: an average leaves no trace in the training.
        """
        if not self.averages or self._training_weights is not None:
            yield
            return
        self._training_weights = [p.detach().clone() for p in self._parameters()]
        self.optimizer.eval()
        try:
            yield
        finally:
            self._train_on(self._training_weights)
            self._training_weights = None

    def _train_on(self, weights: Sequence[Tensor]) -> None:
        self.optimizer.train()
        with torch.no_grad():
            torch._foreach_copy_(self._parameters(), list(weights))

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def state_dict(self) -> dict:
        """Optimiser state, loss scale and skipped steps: tensors and plain types only.

        Of an optimiser that averages, also the weights that train, as a checkpoint's `state_dict` is the average.
        """
        state = {"optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}
        if self.skipper is not None:
            state["skipper"] = self.skipper.state_dict()
        if self.averages:
            with self.averaged_weights():
                state["training_weights"] = self._training_weights
        return state

    def load_state_dict(self, state_dict: dict) -> None:
        """Loads what `state_dict` gave.

        Raises:
            CheckpointError: The optimiser of the checkpoint has other groups of parameters, or is another one.
        """
        if self.averages != ("training_weights" in state_dict):
            name, has = type(self.optimizer).__name__, "keeps an" if self.averages else "keeps no"
            raise CheckpointError(
                f"{name} {has} average of the weights, unlike the optimizer of the checkpoint: resume with the "
                "optimizer that the run began with, or start a new run from its weights with load_from."
            )
        try:
            self.optimizer.load_state_dict(optimizer_state_like(state_dict["optimizer"], self._parameters()))
        except ValueError as error:
            raise CheckpointError(
                f"the optimiser's state is of other groups of parameters than optim_wrapper makes ({error}): resume "
                "with the optimizer and paramwise_cfg that the run began with. One in which all parameters decayed "
                "alike needs paramwise_cfg=dict(bias_decay_mult=1.0, norm_decay_mult=1.0, flat_decay_mult=1.0, "
                "modulation_decay_mult=1.0)."
            ) from error
        self.scaler.load_state_dict(state_dict["scaler"])
        if self.skipper is not None and "skipper" in state_dict:
            self.skipper.load_state_dict(state_dict["skipper"])
        if self.averages:
            self._train_on(state_dict["training_weights"])


def _settings(group: dict) -> dict:
    return {key: value for key, value in group.items() if key != "params"}


def _agreed(norm: Tensor) -> float:
    """The gradient's norm as a number that is the same in all processes, so that all of them skip or none."""
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        norm = norm.clone()
        dist.all_reduce(norm)
        norm /= dist.get_world_size()
    return norm.item()
