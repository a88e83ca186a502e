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


@torch.no_grad()
def weigh_classes(estimator: TaskEstimator, factors: Mapping[str, float]) -> None:
    """Multiplies the odds of classes, as by Bayes' rule for pictures among which they are so much rarer.

    Args:
        estimator: Its last layer's bias takes the factors up.
        factors: By class; below 1 it takes more evidence to name it.

    Raises:
        ConfigError: The estimator does not know a class, or a factor is not positive and finite.
    """
    for name, factor in factors.items():
        if name not in estimator.classes:
            hint = did_you_mean(name, estimator.classes)
            raise ConfigError(f"the estimator has no class '{name}'; it has {', '.join(estimator.classes)}.{hint}")
        if not 0 < factor < math.inf:
            raise ConfigError(f"the factor of '{name}' is {factor:g}; a positive number is needed.")
        estimator.head.bias[estimator.classes.index(name)] += math.log(factor)


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
