"""The exponential moving average of the weights, by `torch._foreach` and restarted at every stage."""

import torch
from mmengine.hooks import EMAHook
from mmengine.model import BaseAveragedModel
from mmengine.registry import MODELS
from torch import Tensor, nn

from dtir.core.ranges import BelowOne
from dtir.core.stage_hook import StageHook
from dtir.engine.sharding import without_shards
from dtir.registry import HOOKS


@MODELS.register_module()
class ForeachEMA(BaseAveragedModel):
    """`ema = d ema + (1 - d) weights` with `d = min(decay, (1 + n) / (10 + n))` after n updates.

    The warm-up of the decay makes the average useful in short stages. mmengine's averages read their step counter
    back from the device in every step; this one counts on the CPU.

    Args:
        model: The model to average.
        decay: Largest decay d, in [0, 1).
    """

    def __init__(self, model: nn.Module, decay: BelowOne = 0.999) -> None:
        super().__init__(model)
        self.decay = decay
        self.num_updates = 0

    def update_parameters(self, model: nn.Module) -> None:
        """One update; the first one after a restart copies the weights."""
        averages, weights = list(self.module.parameters()), [p.detach() for p in model.parameters()]
        decay = min(self.decay, (1 + self.num_updates) / (10 + self.num_updates)) if self.num_updates else 0.0
        torch._foreach_lerp_(averages, weights, 1 - decay)
        self.copy_buffers(model)
        self.num_updates += 1

    def copy_buffers(self, model: nn.Module) -> None:
        """Takes the model's buffers as they are."""
        buffers = [(own, other) for own, other in zip(self.module.buffers(), model.buffers(), strict=True)]
        if buffers:
            torch._foreach_copy_([own for own, _ in buffers], [other for _, other in buffers])

    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: int) -> None:
        """Unused: `update_parameters` averages all parameters at once."""
        raise RuntimeError("ForeachEMA averages all parameters at once; call update_parameters.")

    def get_extra_state(self) -> dict:
        """The number of updates since the last restart."""
        return {"num_updates": self.num_updates}

    def set_extra_state(self, state: dict) -> None:
        """Takes back what `get_extra_state` gave."""
        self.num_updates = state["num_updates"]


@HOOKS.register_module()
class StageEMAHook(EMAHook, StageHook):
    """Averages the weights, restarting at each stage; validation and checkpoints take the average.

    In a checkpoint `state_dict` is the average, for deployment, and `ema_state_dict` the weights that train.

    Args:
        decay: See `ForeachEMA`.
    """

    def __init__(self, decay: BelowOne = 0.999) -> None:
        super().__init__(ema_type="ForeachEMA", decay=decay)

    def before_run(self, runner) -> None:
        """Makes the average, in shards where the model is."""
        if runner.shards is None:
            super().before_run(runner)
        else:
            self.src_model = runner.model
            self.ema_model = MODELS.build({**self.ema_cfg, "model": without_shards(runner.model)})

    def before_stage(self, runner, stage, fresh: bool) -> None:
        """Restarts the average at the start of a stage."""
        if fresh:
            self.ema_model.num_updates = 0

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Updates the average, of the optimiser's own average where it keeps one."""
        with runner.optim_wrapper.averaged_weights():
            self.ema_model.update_parameters(self.src_model)
