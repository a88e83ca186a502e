"""A restorer and its estimator brought together before they are written into one model file."""

import math
from collections.abc import Mapping
from pathlib import Path

import torch

from dtir.apis.models.build import load_restorer
from dtir.core.errors import CheckpointError, ConfigError
from dtir.core.names import did_you_mean
from dtir.models import DiffusionRestorer, Restorer
from dtir.models.estimator import TaskEstimator
from dtir.models.glance import Glance
from dtir.tasks import CLEAN


def with_estimator(
    restorer: Restorer,
    checkpoint: str | Path | None = None,
    least_confidence: float | None = None,
    least_of_two: float | None = None,
) -> Restorer:
    """Gives a restorer the estimator of another checkpoint, or its own other thresholds; returns the restorer.

    Args:
        restorer: As `load_restorer` gives it.
        checkpoint: Where the estimator is taken from; None keeps the restorer's own.
        least_confidence, least_of_two: As of a `TaskEstimator`, in [0, 1]; None keeps the estimator's own.

    Raises:
        CheckpointError: There is no estimator, or it tells apart tasks or steps that the restorer does not know.
        ConfigError: A threshold is outside [0, 1].
    """
    given = {"least_confidence": least_confidence, "least_of_two": least_of_two}
    thresholds = {name: value for name, value in given.items() if value is not None}
    if checkpoint is not None:
        restorer.estimator = load_restorer(checkpoint).estimator
    if restorer.estimator is None:
        if checkpoint is None and not thresholds:
            return restorer
        raise CheckpointError(f"'{checkpoint or 'the checkpoint'}' has no estimator of the task.")
    if isinstance(restorer.estimator, Glance):
        raise CheckpointError(
            f"'{checkpoint or 'the checkpoint'}' is of a GlanceClassifier, which restores nothing and is no estimator: "
            "give it to a model as --glance."
        )
    unknown = set(restorer.estimator.classes) - {*restorer.tasks, CLEAN}
    if unknown:
        raise CheckpointError(
            f"the estimator tells apart {', '.join(sorted(unknown))}, which the restorer does not know."
        )
    last = max((step for own in restorer.estimator.steps.values() for step in own), default=0)
    if last > restorer.num_timesteps:
        raise CheckpointError(
            f"the estimator knows step {last}, and the restorer has {restorer.num_timesteps} of them."
        )
    for name, value in thresholds.items():
        if not 0 <= value <= 1:
            raise ConfigError(f"{name}={value} is no probability in [0, 1].")
        setattr(restorer.estimator, name, value)
    return restorer


def with_glance(restorer: Restorer, checkpoint: str | Path) -> Restorer:
    """Gives the estimator of a restorer the glance of a training of a `GlanceClassifier`; returns the restorer.

    Raises:
        CheckpointError: The checkpoint holds none, the restorer has no estimator, or the estimator does not know what
            the glance tells.
    """
    glance = load_restorer(checkpoint).estimator
    if not isinstance(glance, Glance):
        raise CheckpointError(f"'{checkpoint}' is not of a GlanceClassifier, whose training --glance takes.")
    if not isinstance(restorer.estimator, TaskEstimator):
        raise CheckpointError("the model has no estimator of the task, which a glance is a part of.")
    unknown = set(glance.told) - set(restorer.estimator.classes)
    if unknown:
        raise CheckpointError(f"the glance tells {', '.join(sorted(unknown))}, which the estimator does not know.")
    restorer.estimator.glance = glance
    return restorer


def with_trials(restorer: Restorer, trials: Mapping[str, float]) -> Restorer:
    """Has a restorer try out damages where its estimator names no more; returns the restorer.

    Args:
        restorer: One with an estimator.
        trials: As of a `TaskEstimator`.

    Raises:
        CheckpointError: The restorer has no estimator of the task.
        ConfigError: A damage is none of the restorer's, or a share is not above 0 and at most 1.
    """
    if not isinstance(restorer.estimator, TaskEstimator):
        raise CheckpointError("the model has no estimator of the task, beside which damages are tried out.")
    for name, share in trials.items():
        if name not in restorer.tasks:
            hint = did_you_mean(name, restorer.tasks)
            raise ConfigError(f"the model does not restore '{name}'; it restores {', '.join(restorer.tasks)}.{hint}")
        if not 0 < share <= 1:
            raise ConfigError(f"the share of '{name}' is {share:g}; expected one above 0 and at most 1.")
    restorer.estimator.trials = dict(trials)
    return restorer


@torch.no_grad()
def weigh_classes(judging: TaskEstimator | Glance, factors: Mapping[str, float]) -> None:
    """Multiplies the odds of classes, as by Bayes' rule for pictures among which they are so much rarer.

    Args:
        judging: Its last layer's bias takes the factors up.
        factors: By class; below 1 it takes more evidence to name it.

    Raises:
        ConfigError: A class is not known, or a factor is not positive and finite.
    """
    kind, classes = ("glance", judging.told) if isinstance(judging, Glance) else ("estimator", judging.classes)
    bias = judging.head.bias
    # Before what it tells a glance has none of it.
    before = len(bias) - len(classes)
    for name, factor in factors.items():
        if name not in classes:
            hint = did_you_mean(name, classes)
            raise ConfigError(f"the {kind} has no class '{name}'; it has {', '.join(classes)}.{hint}")
        if not 0 < factor < math.inf:
            raise ConfigError(f"the factor of '{name}' is {factor:g}; a positive number is needed.")
        bias[before + classes.index(name)] += math.log(factor)


def average_small(restorer: Restorer, flips_up_to: int) -> Restorer:
    """Has a restorer give the mean over the four flips of pictures of up to so many pixels; returns the restorer.

    Raises:
        CheckpointError: It is of a kind that has no such setting.
    """
    if not isinstance(restorer, DiffusionRestorer):
        raise CheckpointError(f"a {type(restorer).__name__} cannot be told to average small pictures (--flips-up-to).")
    restorer.flips_up_to = flips_up_to
    restorer.model_cfg = {**restorer.model_cfg, "flips_up_to": flips_up_to}
    return restorer
