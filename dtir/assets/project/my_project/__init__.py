"""The parts of my_project. Importing the package registers them; the config does so in `custom_imports`."""

from . import backbone, dataset, degradation, hook, loss, metric, regularizer, scheduler

__all__ = ["backbone", "dataset", "degradation", "hook", "loss", "metric", "regularizer", "scheduler"]
