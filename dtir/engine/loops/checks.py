"""What a staged training checks of its config before any work, as it would else end late or do nothing in silence."""

from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import torch
from mmengine.hooks import Hook
from torch import nn

from dtir.config.blame import line_of
from dtir.config.values import shown
from dtir.core.errors import ConfigError, DtirError
from dtir.core.names import did_you_mean
from dtir.core.stage_hook import StageHook
from dtir.engine.stages import StagePlan
from dtir.models import Restorer
from dtir.models.probing import check_gradient, in_eval_mode, is_own, named_blocks
from dtir.tasks import check_task

# Odd, and of different sides; VGG, which losses compare features of, takes no side below 32.
LOSS_TRIAL_SIZE = (49, 33)


def check_hooks(plan: StagePlan, hooks: Iterable[Hook]) -> None:
    """Raises ConfigError for a hook that waits for a stage that never comes."""
    names = [stage.name for stage in plan]
    for hook in hooks:
        before = hook.before if isinstance(hook, StageHook) else None
        if before is not None and before not in names:
            raise ConfigError(
                f"{type(hook).__name__}: before is {before!r}; expected the name of a stage of train_cfg.stages: "
                f"{', '.join(names)}.{did_you_mean(before, names)}"
            )


def check_rates(cfg: Mapping) -> None:
    """Raises ConfigError for what mmengine's loops read of learning rates and a staged training does not."""
    scaled = (cfg.get("auto_scale_lr") or {}).get("enable", False)
    for key, given in (("param_scheduler", cfg.get("param_scheduler")), ("auto_scale_lr.enable", scaled)):
        if given:
            raise ConfigError(
                f"{key} is {shown(given)}; expected none: the learning rate is that of the stages (lr, schedule, "
                "min_lr and warmup_iters in train_cfg.stages)."
            )


def check_schedules(plan: StagePlan, averages: bool) -> None:
    """Raises ConfigError for a stage that lowers the rate of an optimiser that `averages` the weights instead."""
    lowering = [stage for stage in plan if stage.settings.schedule != "constant"]
    if averages and lowering:
        stage = lowering[0]
        raise ConfigError(
            f"stage '{stage.name}': schedule='{stage.settings.schedule}', but a schedule-free optimizer averages "
            "the weights in place of lowering the learning rate; set schedule='constant'."
        )


def check_checkpointing(cfg: Mapping, model: nn.Module) -> None:
    """Raises ConfigError for activation checkpointing of a compiled network, or of one without named blocks."""
    if cfg.get("compile", None):
        raise ConfigError(
            "train_cfg.checkpoint_activations=True and compile=True exclude each other: a compiled network decides "
            "by itself what it keeps. Leave one out."
        )
    named_blocks(model.backbone)


def check_stages(plan: StagePlan, model: nn.Module) -> None:
    """Raises ConfigError for what would else end the training at a later stage: tasks and patterns of parameters."""
    parameters = [name for name, _ in model.named_parameters()]
    for stage in plan:
        tasks = stage.settings.tasks
        if isinstance(tasks, tuple):
            for name in tasks:
                check_task(name, tuple(model.tasks))
        if tasks == () or (isinstance(tasks, int) and tasks > len(model.tasks)):
            raise ConfigError(
                f"stage '{stage.name}': tasks is {tasks!r}; expected 'all', a list of names, or a number of 1 to "
                f"the {len(model.tasks)} tasks of the model."
            )
        if not stage.settings.trainable:
            raise ConfigError(
                f"stage '{stage.name}': trainable is empty; expected patterns of parameters, such as "
                f"['{_kinds(parameters)[0]}'], or leave it out to train all."
            )
        for pattern in stage.settings.trainable:
            if not any(fnmatchcase(name, pattern) for name in parameters):
                raise ConfigError(
                    f"stage '{stage.name}': trainable has the pattern '{pattern}', which matches no parameter of "
                    f"the model. Its parameters are named {', '.join(_kinds(parameters))}."
                )


def check_losses(model: Restorer) -> None:
    """Has a model with a network of somebody else's compute its losses once, of two grey pictures of odd size.

    Raises:
        ConfigError: It fails, or its losses are not finite or do not depend on the parameters of the model.
    """
    if not is_own(model.backbone):
        return
    kind, device, scale = type(model.backbone).__name__, model.matched_t.device, model.traits.scale
    pictures = torch.full((2, 3, *LOSS_TRIAL_SIZE), 0.5, device=device)
    clean = torch.full((2, 3, *(scale * side for side in LOSS_TRIAL_SIZE)), 0.5, device=device)
    pair = torch.arange(2, device=device)
    samples = {"gt": clean, "task": pair * 0, "num_generative": 0, "noise_seed": 0, "slots": pair}
    try:
        # What the network draws of its own leaves the training's chance as it was.
        with in_eval_mode(model), torch.random.fork_rng(), torch.enable_grad():
            losses = model.losses(pictures, samples)
    except DtirError as error:
        raise type(error)(f"backbone {kind}: {error}") from error
    except Exception as error:
        height, width = LOSS_TRIAL_SIZE
        raise ConfigError(
            f"backbone {kind} fails in a step of two pictures of {height} x {width} pixels: {type(error).__name__}: "
            f"{error} ({line_of(error)}). Training and validation have pictures of any size: let it pad inside."
        ) from error
    total = sum(losses.values())
    if not total.isfinite():
        raise ConfigError(f"backbone {kind}: the loss of two grey pictures is {total.item()}; expected a finite one.")
    # Of all parameters: what trains a part of a codec only samples with the backbone.
    check_gradient(model.backbone, total, model.parameters())


def _kinds(names: Sequence[str]) -> list[str]:
    """Patterns that sum parameter names up, such as `network.backbone.*`."""
    return list(dict.fromkeys(".".join([*name.split(".")[:2], "*"]) for name in names))
