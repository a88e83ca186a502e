"""The training loop: it announces stages, hooks switch them."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Literal

import torch
from mmengine.dist import get_rank, get_world_size
from mmengine.registry import FUNCTIONS
from mmengine.runner import BaseLoop
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dtir.core.errors import ConfigError
from dtir.core.ranges import NonNegativeInt, PositiveInt
from dtir.core.seeding import derive_seed
from dtir.core.stage_hook import EstimateStopped, TrainStep
from dtir.datasets import MultiTaskBatchSampler
from dtir.engine.data_workers import begin_worker, granted_workers
from dtir.engine.gradients import LossGradients, ShardedGradients, SummedGradients
from dtir.engine.loops.checks import (
    check_checkpointing,
    check_hooks,
    check_losses,
    check_rates,
    check_schedules,
    check_stages,
)
from dtir.engine.optim import learning_rate
from dtir.engine.sharding import (
    ShardedModel,
    WholeValidationHook,
    refuse_optimizer,
    refuse_what_needs_the_whole,
)
from dtir.engine.stages import ScheduledStage, StagePlan
from dtir.models.recomputing import recomputed_blocks
from dtir.registry import DATASETS, LOOPS, REGULARIZERS


@LOOPS.register_module()
class StagedTrainLoop(BaseLoop):
    """Trains a restorer through stages; one iteration is one optimiser step.

    Its hook points beside mmengine's are those of `dtir.core.stage_hook.StageHook`. A step is a function of all its
    samples: how many processes and micro-batches share them does not matter, beyond the rounding of sums, but for
    networks with layers of which it does (`split_dependent`).

    Args:
        runner: The runner.
        dataloader: Dict with `dataset` (a `MultiTaskDataset`, which gets the run's seed unless it has its own),
            `batch_size` per process, and optionally `num_workers`, `prefetch_factor`, `pin_memory`.
        stages: Config dicts of `Stage`.
        val_interval: Iterations between validations; 0 for none but those that stages ask for and the last.
        accumulate: Micro-batches per optimiser step.
        regularizers: Configs of hooks in the `REGULARIZERS` registry.
        find_unused_parameters: Passed to DDP.
        checkpoint_activations: Whether the backbone's blocks keep their input alone and run once more in the backward
            pass, see `recomputed_blocks`: less memory, more time, the same gradients.
        parallel: What several processes share: "DDP" the samples of a step; "FSDP" also the weights, gradients and the
            optimiser's state, of which each then holds a part (`ShardedModel`).

    Attributes:
        stop_training: Set by a hook, such as mmengine's `EarlyStoppingHook`, to end training after the present step.
        step: The present optimiser step, None before the first.
        shards: The model in shards, None without FSDP or with one process.

    Raises:
        ConfigError: The tasks of dataset and model differ, or a stage is wrong; or `checkpoint_activations` meets
            `compile`, or a backbone that does not declare its blocks; or FSDP meets what needs whole weights.
    """

    def __init__(
        self,
        runner,
        dataloader: dict,
        stages: Sequence[Mapping],
        val_interval: NonNegativeInt = 0,
        accumulate: PositiveInt = 1,
        regularizers: Sequence[dict] = (),
        find_unused_parameters: bool = False,
        checkpoint_activations: bool = False,
        parallel: Literal["DDP", "FSDP"] = "DDP",
    ) -> None:
        self.plan = StagePlan(stages, len(runner.model.tasks))
        check_stages(self.plan, runner.model)
        check_losses(runner.model)
        super().__init__(runner, self._build_dataloader(runner, dict(dataloader)))
        self.val_interval = val_interval
        self.val_begin = 1
        self.accumulate = accumulate
        self.find_unused_parameters = find_unused_parameters
        self.checkpoint_activations = checkpoint_activations
        if checkpoint_activations:
            check_checkpointing(runner.cfg, runner.model)
        self._iter = 0
        self._epoch = 0
        self.stage: ScheduledStage | None = None
        self.trainable_parameters: list[nn.Parameter] = []
        self.step: TrainStep | None = None
        self.stop_training = False
        self.regularizers = [REGULARIZERS.build(config) for config in regularizers]
        for regularizer in self.regularizers:
            runner.register_hook(regularizer)
        self.data_time = 0.0
        self.shards: ShardedModel | None = None
        if parallel == "FSDP":
            refuse_what_needs_the_whole(runner, regularizers)
        if parallel == "FSDP" and get_world_size() > 1:
            # While they are whole.
            runner._init_model_weights()
            self.shards = ShardedModel(runner.model)
            runner.register_hook(WholeValidationHook())

    @property
    def iter(self) -> int:
        """Finished optimiser steps."""
        return self._iter

    @property
    def epoch(self) -> int:
        """Always 0: training is counted in iterations."""
        return self._epoch

    @property
    def max_iters(self) -> int:
        """Optimiser steps of all stages."""
        return self.plan.max_iters

    @property
    def max_epochs(self) -> int:
        """Always 1: training is counted in iterations."""
        return 1

    @property
    def world_batch(self) -> int:
        """Samples of one optimiser step, of all processes and micro-batches."""
        return math.prod(self.split)

    @property
    def split(self) -> list[int]:
        """What shares the samples of a step: samples of a micro-batch, micro-batches, processes."""
        return [self.batch_sampler.batch_size, self.accumulate, self.batch_sampler.world_size]

    @property
    def local_iter(self) -> int:
        """Finished optimiser steps of the present stage."""
        return self._iter - self.stage.start

    def run(self) -> nn.Module:
        """Runs all stages from the present iteration and returns the model.

        Raises:
            ConfigError: A stage lowers the learning rate of an optimiser that averages the weights instead; or a hook
                waits for a stage that there is not.
        """
        check_schedules(self.plan, self.runner.optim_wrapper.averages)
        check_hooks(self.plan, self.runner.hooks)
        check_rates(self.runner.cfg)
        if self.shards is not None:
            refuse_optimizer(self.runner.optim_wrapper)
        if self._iter >= self.max_iters:
            self.runner.logger.info(f"This training is complete; its results are in {self.runner.work_dir}.")
            return self.runner.model
        self.runner.call_hook("before_train")
        self.runner.call_hook("before_train_epoch")
        try:
            while self._iter < self.max_iters and not self.stop_training:
                self._run_stage(self.plan.at(self._iter))
        except EstimateStopped as stopped:
            self.runner.logger.warning(f"{stopped} The stage has not begun; --resume goes on from the one before.")
        self.runner.call_hook("after_train_epoch")
        self.runner.call_hook("after_train")
        return self.runner.model

    def stage_tasks(self, stage: ScheduledStage) -> list[int]:
        """Indices of a stage's tasks; a number of tasks means the first ones in order of the matched time step."""
        model, tasks = self.runner.model, stage.settings.tasks
        if tasks == "all":
            return list(range(len(model.tasks)))
        if isinstance(tasks, int):
            return sorted(model.task_order()[:tasks])
        return [model.tasks.index(name) for name in tasks]

    def _run_stage(self, stage: ScheduledStage) -> None:
        self.stage = stage
        self.runner.call_hook("before_stage", stage=stage, fresh=self.local_iter == 0)
        self.gradients = self._gradient_path()
        self.runner.model.train()
        batches = self._batches(stage)
        while self._iter < stage.end and not self.stop_training:
            self._run_iter(batches, stage)
        if self._iter == stage.end:
            self.runner.call_hook("after_stage", stage=stage)
        else:
            self.runner.logger.info(f"Training was stopped by a hook at iteration {self._iter} of {self.max_iters}.")

    def _gradient_path(self) -> SummedGradients | ShardedGradients | LossGradients:
        model = self.runner.model
        self.trainable_parameters = [p for p in model.parameters() if p.requires_grad]
        if self.shards is not None:
            return ShardedGradients(model)
        separate = any(regularizer.needs_loss_gradients for regularizer in self.regularizers)
        model.separate_objectives = separate
        if separate:
            return LossGradients(model, self.trainable_parameters)
        return SummedGradients(model, self.trainable_parameters, self.find_unused_parameters)

    def _batches(self, stage: ScheduledStage) -> Iterator[dict]:
        self.batch_sampler.set_stage(
            stage.index,
            self.stage_tasks(stage),
            stage.settings.generative_share,
            num_batches=stage.settings.iters * self.accumulate,
            start=self.local_iter * self.accumulate,
            mixing=stage.settings.mixing,
            patch=stage.settings.patch,
        )
        return iter(self.dataloader)

    def _run_iter(self, batches: Iterator[dict], stage: ScheduledStage) -> None:
        runner = self.runner
        runner.call_hook("before_train_iter", batch_idx=self._iter, data_batch=None)
        runner.optim_wrapper.set_lr(learning_rate(stage.settings, self.local_iter))
        self.data_time = 0.0
        step = self.step = TrainStep(stage, self.local_iter, self.accumulate)
        runner.call_hook("before_step", step=step)
        for micro, batch in enumerate(self._step_batches(batches, step)):
            self._micro_batch(step, micro, batch)
        self._optim_step(step)
        outputs = {**step.losses, **step.logged}
        runner.call_hook("after_train_iter", batch_idx=self._iter, data_batch=None, outputs=outputs)
        self._iter += 1
        if self._validation_due():
            runner.validate()
            runner.model.train()
        runner.call_hook("after_step", stage=stage)

    def _step_batches(self, batches: Iterator[dict], step: TrainStep) -> Iterable[dict]:
        """The micro-batches of a step; all at once where a regularizer has to see them before the first is used."""
        micro_batches = (self._next(batches) for _ in range(self.accumulate))
        if self.accumulate == 1 or not any(regularizer.previews(step) for regularizer in self.regularizers):
            return micro_batches
        loaded = list(micro_batches)
        for micro, batch in enumerate(loaded):
            losses = self._losses(self.runner.model, self._prepare(step, micro, batch))
            self.runner.call_hook("preview_loss", step=step, losses=losses)
        return loaded

    def _next(self, batches: Iterator[dict]) -> dict:
        start = time.perf_counter()
        batch = next(batches)
        self.data_time += time.perf_counter() - start
        return batch

    def _micro_batch(self, step: TrainStep, micro: int, batch: dict) -> None:
        runner, optim = self.runner, self.runner.optim_wrapper
        data = self._prepare(step, micro, batch)
        with self.gradients.micro_batch(last=micro == self.accumulate - 1):
            losses = self._losses(self.gradients.module, data)
            runner.call_hook("after_loss", step=step, losses=losses)
            _require_scalars(losses)
            self.gradients.backward({name: optim.scale_loss(loss / self.accumulate) for name, loss in losses.items()})
        step.add_losses(losses)

    def _prepare(self, step: TrainStep, micro: int, batch: dict) -> dict:
        """Moves a micro-batch to the device, and seeds what is random in its forward pass."""
        runner, rank = self.runner, get_rank()
        data = runner.model.data_preprocessor(batch, training=True)
        samples = data["data_samples"]
        address = (runner.seed, step.stage.index, step.iteration)
        samples["lq"] = data["inputs"]
        samples["noise_seed"] = derive_seed(*address, 0)
        samples["slots"] = samples["slots"] + (micro * get_world_size() + rank) * len(data["inputs"])
        samples["step_size"] = self.world_batch
        step.micro, step.samples = micro, samples
        # For layers that draw by themselves, such as dropout: other numbers in every process and micro-batch.
        torch.manual_seed(derive_seed(*address, micro, rank))
        return data

    def _losses(self, module: nn.Module, data: dict) -> dict[str, Tensor]:
        recomputed = recomputed_blocks(self.runner.model) if self.checkpoint_activations else nullcontext()
        with self.runner.optim_wrapper.autocast(), recomputed:
            return module(**data, mode="loss")

    def _optim_step(self, step: TrainStep) -> None:
        optim, gradients = self.runner.optim_wrapper, self.gradients
        gradients.reduce()
        optim.unscale()
        if isinstance(gradients, LossGradients):
            if optim.amp == "fp16":
                gradients.unscale(optim.loss_scale)
            self.runner.call_hook("gradient_policy", step=step, loss_gradients=gradients.loss_gradients)
            gradients.write_total()
        self.runner.call_hook("before_optim_step", step=step)
        optim.apply_gradients()
        gradients.clear()

    def _validation_due(self) -> bool:
        return self.runner.val_loop is not None and self.plan.validates_after(self._iter, self.val_interval)

    def _build_dataloader(self, runner, config: dict) -> DataLoader:
        dataset = DATASETS.build(config.pop("dataset"))
        if dataset.seed is None:
            dataset.seed = runner.seed
        if tuple(dataset.tasks) != tuple(runner.model.tasks):
            raise ConfigError(
                f"model.tasks {tuple(runner.model.tasks)} and the tasks of train_dataloader.dataset "
                f"{tuple(dataset.tasks)} must be the same names in the same order."
            )
        if len(dataset.sizes) != len(dataset.tasks):
            raise ConfigError(
                f"train_dataloader.dataset has {len(dataset.sizes)} datasets of {len(dataset.tasks)} tasks: a training "
                "set is one per task; leave those with test_set to test_dataloader."
            )
        self.batch_sampler = MultiTaskBatchSampler(
            dataset.sizes, config.pop("batch_size"), runner.seed, get_rank(), get_world_size()
        )
        workers = granted_workers(config.pop("num_workers", 0))
        config.setdefault("pin_memory", torch.cuda.is_available())
        config.setdefault("persistent_workers", workers > 0)
        config.setdefault("worker_init_fn", begin_worker)
        if isinstance(config.get("collate_fn"), Mapping):
            config["collate_fn"] = _function(config["collate_fn"])
        try:
            return DataLoader(dataset, batch_sampler=self.batch_sampler, num_workers=workers, **config)
        except (TypeError, ValueError) as error:
            # Options that contradict each other, or what the loop decides itself.
            raise ConfigError(f"train_dataloader: {error}.") from error


def _function(config: Mapping) -> Callable:
    """A registered function, or the one that is given, with its options."""
    options = dict(config)
    kind = options.pop("type")
    return partial(FUNCTIONS.get(kind) if isinstance(kind, str) else kind, **options)


def _require_scalars(losses: Mapping[str, Tensor]) -> None:
    for name, loss in losses.items():
        if not isinstance(loss, Tensor) or loss.ndim:
            found = f"has shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"is a {type(loss).__name__}"
            raise ConfigError(f"the loss '{name}' {found}; the restorer and after_loss have to give scalar tensors.")
