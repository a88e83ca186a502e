"""mmengine's runner with safe, exact checkpoints, and process groups on CPU and GPU."""

import atexit
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import mmengine
import torch
import torch.distributed as dist
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import get_rank
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper
from mmengine.runner import BaseLoop, Runner
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from torch.utils.data import DataLoader

from dtir.config.blame import blamed
from dtir.config.imports import imports_of
from dtir.config.text import TextConfig
from dtir.core.atomic import atomic_save
from dtir.core.checkpoint import check_plain, check_state, find_last_checkpoint, load_checkpoint, load_state, to_cpu
from dtir.core.denormals import flush_denormals
from dtir.core.errors import CheckpointError, ConfigError, DtirError
from dtir.datasets import MultiTaskDataset
from dtir.engine.compiling import compile_network
from dtir.engine.data_workers import begin_worker, granted_workers
from dtir.engine.sharding import ShardedModel, state_like, whole
from dtir.evaluation import PictureMetric
from dtir.models.probing import in_mode
from dtir.registry import RUNNERS
from dtir.version import __version__

DEFAULT_HOOKS = {
    "runtime_info": {"type": "dtir.StageRuntimeInfoHook"},
    "stages": {"type": "dtir.StageSwitchHook"},
    "logger": {"type": "dtir.StageLoggerHook"},
    "progress": {"type": "dtir.ProgressHook"},
    "preemption": {"type": "dtir.PreemptionHook"},
    "checkpoint": {"type": "dtir.AtomicCheckpointHook"},
}


# Lines of a record that is not shown on the terminal.
LONG_RECORD = 10


@RUNNERS.register_module()
class StagedRunner(Runner):
    """Runs a `StagedTrainLoop`.

    What differs from mmengine's runner: checkpoints hold tensors and plain types only and are written atomically; a
    checkpoint must match the model; the model is not wrapped for several processes, as the loop does that stage by
    stage; several processes work on a CPU machine.
    """

    def __init__(self, *args, cfg: Config | dict | None = None, **kwargs):
        if cfg is not None:
            cfg = TextConfig.of(cfg if isinstance(cfg, Config) else Config(cfg))
        super().__init__(*args, cfg=cfg, **kwargs)

    def setup_env(self, env_cfg: dict) -> None:
        """Has denormal numbers flushed, for the whole process, and starts the process group: gloo on a CPU machine,
        otherwise as `env_cfg.dist_cfg` says."""
        flush_denormals()
        if self.distributed and not dist.is_initialized() and not torch.cuda.is_available():
            if self.launcher == "slurm":
                _export_slurm_ranks()
            dist.init_process_group("gloo")
            # gloo's threads drop tensors when they end: once the interpreter goes down, that aborts the process.
            atexit.register(_destroy_process_group)
        super().setup_env(env_cfg)

    def build_logger(self, log_level: int | str = "INFO", log_file: str | None = None, **kwargs) -> MMLogger:
        """Builds the logger; long records (environment, config, hooks) go into the log file only."""
        path = log_file or str(Path(self._log_dir) / f"{self.timestamp}.log")
        logger = super().build_logger(log_level, path, **kwargs)
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_short)
        logger.info(f"Environment, config and hooks are in the log file: {path}")
        return logger

    def wrap_model(self, model_wrapper_cfg: dict | None, model: nn.Module) -> nn.Module:
        """Moves the model to its device."""
        return model.to(get_device())

    def register_default_hooks(self, hooks: dict | None = None) -> None:
        """Registers dtir's default hooks; a config changes them by name or drops one with None."""
        for name, hook in {**DEFAULT_HOOKS, **(hooks or {})}.items():
            if hook is not None:
                self.register_hook(_with_type(hook, DEFAULT_HOOKS.get(name)))

    def build_optim_wrapper(self, optim_wrapper: dict | OptimWrapper) -> OptimWrapper:
        """Builds the optimiser with `StagedOptimWrapperConstructor`, where the config names no other constructor."""
        if isinstance(optim_wrapper, dict):
            optim_wrapper = {"constructor": "dtir.StagedOptimWrapperConstructor", **optim_wrapper}
        return super().build_optim_wrapper(optim_wrapper)

    @staticmethod
    def build_dataloader(dataloader: DataLoader | dict, *args, **options) -> DataLoader:
        """Builds the pictures of a validation or test, read by workers that are as many and begin as in training."""
        if isinstance(dataloader, dict):
            workers = granted_workers(dataloader.get("num_workers", 0))
            dataloader = {"worker_init_fn": {"type": begin_worker}, **dataloader, "num_workers": workers}
        return Runner.build_dataloader(dataloader, *args, **options)

    def build_val_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Builds the validation loop.

        Raises:
            TaskError: The model does not know a task of the data.
            ConfigError: Two metrics have one name.
        """
        return _with_numbered_tasks(super().build_val_loop(loop), self.model)

    def build_test_loop(self, loop: BaseLoop | dict) -> BaseLoop:
        """Builds the test loop, a `RecordedTestLoop` where `test_cfg` names no other.

        Raises:
            TaskError: The model does not know a task of the data.
        """
        config = {"type": "dtir.RecordedTestLoop", **loop} if isinstance(loop, dict) else loop
        return _with_numbered_tasks(super().build_test_loop(config), self.model)

    def train(self) -> nn.Module:
        """Trains, and lets hooks give back what they hold (`close(runner)`), after an error too.

        Raises:
            ConfigError: A part of the config cannot be built; the message has its path.
        """
        try:
            with blamed(self.cfg):
                return super().train()
        finally:
            self.call_hook("close")

    def val(self) -> dict[str, float]:
        """Validates.

        Raises:
            ConfigError: See `train`.
        """
        with blamed(self.cfg):
            return super().val()

    def test(self) -> dict[str, float]:
        """Tests.

        Raises:
            ConfigError: See `train`.
        """
        with blamed(self.cfg):
            return super().test()

    def _init_model_weights(self) -> None:
        """Initialises the weights as `init_cfg` says, the same in all processes; of a model in shards the loop had it
        done before it cut them."""
        if self.shards is None:
            super()._init_model_weights()

    def _maybe_compile(self, target: str) -> None:
        """mmengine's place for the config key `compile`: the restorer's network, as the loop calls no `train_step`."""
        settings = self.cfg.get("compile", None)
        if settings:
            patches = len(self.train_loop.plan)
            compile_network(self.model, patches, **(settings if isinstance(settings, dict) else {}))

    def validate(self) -> None:
        """Runs the validation loop, with the optimiser's average of the weights where it keeps one; a compiled network
        runs as it is there, as pictures have too many sizes."""
        eager = torch.compiler.set_stance("force_eager") if self.cfg.get("compile", None) else nullcontext()
        with eager, self.optim_wrapper.averaged_weights():
            self.val_loop.run()

    @property
    def shards(self) -> ShardedModel | None:
        """The model in shards, None where each process holds it whole."""
        return getattr(self._train_loop, "shards", None)

    @contextmanager
    def whole_model(self) -> Iterator[nn.Module]:
        """The model with whole weights, for passes in which each process goes its own way.

        It is `model` itself; of one that FSDP shards it is a copy with the weights of now, which stands for `model` for
        the time of the `with` statement. All processes have to enter it together.
        """
        if self.shards is None:
            yield self.model
            return
        self.model = self.shards.filled_copy()
        try:
            yield self.model
        finally:
            self.model = self.shards.model
            self.shards.put_away()

    def load_or_resume(self) -> None:
        """Resumes from `load_from`, or from the newest checkpoint of the work folder; or only loads weights."""
        if self._has_loaded:
            return
        if self._resume:
            path = self._load_from or find_last_checkpoint(self.work_dir)
            if path is None:
                self.logger.info(f"Nothing to resume in {self.work_dir}; starting from the beginning.")
            else:
                self.resume(str(path))
        elif self._load_from is not None:
            self.load_checkpoint(self._load_from)

    def resume(self, filename: str, **kwargs) -> None:
        """Takes up a run where a checkpoint left it.

        Raises:
            CheckpointError: The file is no checkpoint of a dtir training, or of another one.
        """
        self._resume = True
        checkpoint = self.load_checkpoint(filename)
        meta = checkpoint.get("meta", {})
        if "optimizer" not in checkpoint or "iter" not in meta:
            raise CheckpointError(f"'{filename}' has no training state; load it with load_from instead of resuming it.")
        for key, own in (("seed", self.seed), ("max_iters", self.train_loop.max_iters)):
            if meta[key] != own:
                raise CheckpointError(
                    f"'{filename}' was trained with {key}={meta[key]}, the config has {key}={own}; a resumed run must "
                    "be the same run. Restore the setting, or start a new run with load_from."
                )
        if meta["world_batch"] != self.train_loop.world_batch:
            raise CheckpointError(
                f"'{filename}' was trained with {meta['world_batch']} samples in all per step, the config and the "
                f"processes give {self.train_loop.world_batch}. Set train_dataloader.batch_size so that "
                "batch_size x processes is the same."
            )
        layer, split = split_dependent(self.model), self.train_loop.split
        # Checkpoints of earlier versions do not say how their steps were split.
        if layer is not None and meta.get("split", split) != split:
            told = "batch_size={}, accumulate={}, {} process(es)"
            raise CheckpointError(
                f"'{filename}' was trained with {told.format(*meta['split'])}, and the config and the processes give "
                f"{told.format(*split)}: the same samples per step, but '{layer}' treats them otherwise. "
                "Restore the numbers, or start a new run with load_from."
            )
        self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
        self.optim_wrapper.load_state_dict(checkpoint["optimizer"])
        self.train_loop._iter = meta["iter"]
        self.logger.info(f"Resumed from {filename} at iteration {self.iter}.")

    def load_checkpoint(self, filename: str, **kwargs) -> dict:
        """Loads the weights of a checkpoint of the same model and tells the hooks.

        Raises:
            CheckpointError: See `load_checkpoint` and `load_state` of `dtir.core.checkpoint`.
        """
        # On the CPU, as Adam's step counters must stay there; everything else is copied to where its parameter is.
        checkpoint = load_checkpoint(filename)
        if "state_dict" not in checkpoint:
            raise CheckpointError(
                f"'{filename}' has no 'state_dict'; is it a bare backbone? Keys: {list(checkpoint)[:5]}"
            )
        # Before hooks that load parts of it into parts of their own, such as the moving average.
        check_state(self.model, checkpoint["state_dict"], filename)
        if self.shards is not None:
            own = self.model.state_dict()
            for name, prefix in (("state_dict", ""), ("ema_state_dict", "module.")):
                if name in checkpoint:
                    checkpoint[name] = state_like(checkpoint[name], own, prefix)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        load_state(self.model, checkpoint["state_dict"], filename)
        self._has_loaded = True
        self.logger.info(f"Loaded {filename}.")
        return checkpoint

    def save_checkpoint(self, out_dir: str, filename: str, **kwargs) -> None:
        """Writes a checkpoint atomically: weights, optimiser, hook states, and `meta`, all of plain types.

        The first process writes; under FSDP all have to call this together, and what is written is whole.

        Raises:
            DtirError: The file cannot be written, or what hooks give is not plain; older checkpoints are untouched.
        """
        path = Path(out_dir) / filename
        if get_rank() and self.shards is None:
            return
        # To the end of writing: what is written are the weights themselves, and no copies.
        with self.optim_wrapper.averaged_weights():
            checkpoint = self._checkpoint() if self.shards is None else whole(self._checkpoint())
            if get_rank():
                return
            check_plain(checkpoint)
            try:
                atomic_save(to_cpu(checkpoint), path)
            except (OSError, RuntimeError) as error:
                raise DtirError(
                    f"cannot write checkpoint '{path}': {error}. Older checkpoints are untouched; make room and run "
                    "again with --resume."
                ) from error

    def _checkpoint(self) -> dict:
        checkpoint = {
            "meta": self._meta(),
            "state_dict": self.model.state_dict(),
            "optimizer": self.optim_wrapper.state_dict(),
        }
        self.call_hook("before_save_checkpoint", checkpoint=checkpoint)
        return checkpoint

    def _meta(self) -> dict:
        return {
            "dtir_version": __version__,
            "mmengine_version": mmengine.__version__,
            "iter": self.iter,
            "max_iters": self.train_loop.max_iters,
            "world_batch": self.train_loop.world_batch,
            "split": self.train_loop.split,
            "seed": self.seed,
            "tasks": list(self.model.tasks),
            "model_cfg": _plain(self.cfg.model),
            "custom_imports": imports_of(self.cfg.get("custom_imports")),
            "cfg": self.cfg.pretty_text,
            "experiment_name": self.experiment_name,
            "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
        }


def _is_short(record: logging.LogRecord) -> bool:
    return record.getMessage().count("\n") < LONG_RECORD


def _with_numbered_tasks(loop: BaseLoop, model: nn.Module) -> BaseLoop:
    _require_distinct(getattr(loop.evaluator, "metrics", []))
    # A test may be of some of the model's tasks only, or of other sets: their own numbering is not the model's.
    dataset = loop.dataloader.dataset
    if isinstance(dataset, MultiTaskDataset):
        dataset.number_tasks(model.tasks)
    return loop


def _require_distinct(metrics: Sequence[BaseMetric]) -> None:
    labels = [metric.label for metric in metrics if isinstance(metric, PictureMetric)]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ConfigError(
            f"two metrics of one evaluator are called '{twice[0]}': leave one out, give a class of your own another "
            "`name`, or one of the two a prefix: dict(type=..., prefix='y')."
        )


def split_dependent(model: nn.Module) -> str | None:
    """Name of a layer of the network for which it matters which samples of a step share a forward pass: dropout or
    stochastic depth, whose draws are those of a pass, or batch normalisation; None without such."""
    # What is beside it, such as a codec or the network of a loss, is not trained.
    network = getattr(model, "network", getattr(model, "backbone", model))
    # As a step has it: what a network keeps in evaluation mode there, such as a frozen norm, treats all samples alike.
    with in_mode(network, training=True):
        for name, module in network.named_modules():
            if (module.training and _drops(module)) or (isinstance(module, _BatchNorm) and _takes_from_batch(module)):
                return name
    return None


def _takes_from_batch(norm: _BatchNorm) -> bool:
    return norm.training or norm.running_mean is None


def _drops(module: nn.Module) -> bool:
    # Of stochastic depth by its name: torchvision's, and timm's and its copies.
    share = {"StochasticDepth": "p", "DropPath": "drop_prob"}.get(type(module).__name__)
    if share is not None:
        return bool(getattr(module, share, None))
    return isinstance(module, _DropoutNd) and module.p > 0


def _plain(value: object) -> object:
    if isinstance(value, Config):
        return value.to_dict()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    # A class given as itself is found again by its name.
    return f"{value.__module__}.{value.__qualname__}" if callable(value) else value


def _with_type(hook: object, default: dict | None) -> object:
    if isinstance(hook, dict) and "type" not in hook and default is not None:
        return {**default, **hook}
    return hook


def _destroy_process_group() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def _export_slurm_ranks() -> None:
    os.environ.setdefault("MASTER_PORT", "29500")
    os.environ.setdefault("MASTER_ADDR", os.environ.get("SLURM_LAUNCH_NODE_IPADDR", "127.0.0.1"))
    os.environ["RANK"] = os.environ["SLURM_PROCID"]
    os.environ["WORLD_SIZE"] = os.environ["SLURM_NTASKS"]
    os.environ["LOCAL_RANK"] = os.environ["SLURM_LOCALID"]
