"""Synthetic degradation of a clean picture."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from mmcv.transforms import BaseTransform

from dtir.core.errors import ConfigError
from dtir.core.ranges import Share
from dtir.datasets.damages import Damage, Part, one_by_one
from dtir.imaging.haze import scatter_light, transmission
from dtir.registry import DEGRADATIONS, TRANSFORMS

Severity = Share | tuple[Share, Share]


@TRANSFORMS.register_module()
class Degrade(BaseTransform):
    """Makes `lq` by degrading `gt`; leaves a generative sample's LQ as its GT.

    Args:
        degradation: class name in the DEGRADATIONS registry, a config of one, or a callable
            `(image float32 (H, W, 3) in [0, 1], rng, severity) -> image`.
        severity: in [0, 1], 0.5 being the typical real picture; a pair (low, high) draws uniformly per sample.

    Raises:
        ConfigError: `severity` is no such number or pair.
    """

    source = "gt"

    def __init__(self, degradation: str | dict | Callable, severity: Severity = 0.5):
        self.degradation = build_degradation(degradation)
        self.severity = _check_severity(severity)

    def transform(self, results: dict) -> dict:
        """Sets `lq`, uint8 (H, W, 3), rounded, and the `severity` that was drawn.

        Where other damages joined in, `damages` has them all, that of the dataset first; not where GT has other sides
        than the picture that is degraded, since its own damage is then no difference of the two.
        """
        if results["generative"]:
            return results
        rng = results["rng"]
        results["severity"] = severity = _drawn(self.severity, rng)
        stages, parts = [_unit(results[self.source])], []
        for part in one_by_one(self.degradation, rng, severity):
            parts.append(part)
            stages.append(part.degradation(stages[-1], rng, part.severity))
        if any(map(self.joins, parts)) and results["gt"].shape == stages[0].shape:
            results["damages"] = self._damages(_unit(results["gt"]), parts, stages)
        results["lq"] = np.rint(np.clip(stages[-1], 0, 1) * 255).astype(np.uint8)
        return results

    def joins(self, part: Part) -> bool:
        """Whether a damage is another than that of the dataset."""
        return part.joined

    def _damages(self, clean: np.ndarray, parts: Sequence[Part], stages: Sequence[np.ndarray]) -> list[Damage]:
        own, others = _error(clean, stages[0]), []
        for part, (before, after) in zip(parts, pairwise(stages), strict=True):
            error = _error(before, after)
            if self.joins(part):
                task = getattr(part.degradation, "task", None)
                others.append(Damage(type(part.degradation).__name__, task, error))
            else:
                own += error
        return [Damage("", None, own), *others]


@TRANSFORMS.register_module()
class StepOfSeverity(BaseTransform):
    """Gives a degraded sample a time step of its own: that of its severity (docs/method.md, section 6.1).

    Args:
        table: Pairs of a severity, ascending, and its step, as `tools/analysis/calibrate_steps.py` prints them. Between
            them the step is interpolated and rounded, beyond them it is that of the nearest.

    Raises:
        ConfigError: The table is empty, its severities do not ascend, or a step is negative.
    """

    def __init__(self, table: Sequence[tuple[float, int]]):
        severities, steps = ([pair[place] for pair in table] for place in (0, 1))
        if not table or sorted(set(severities)) != severities or min(steps) < 0:
            raise ConfigError(
                f"table={list(map(tuple, table))}: expected pairs (severity, step), severities ascending, steps from "
                "0 on."
            )
        self.severities, self.steps = severities, steps

    def transform(self, results: dict) -> dict:
        """Sets `step`, where the sample was degraded."""
        if "severity" in results:
            results["step"] = round(float(np.interp(results["severity"], self.severities, self.steps)))
        return results

    def possible(self, severity: Severity) -> tuple[int, ...]:
        """The steps, ascending, that severities of a range, or one, come to."""
        low, high = np.broadcast_to(severity, 2).tolist()
        inside = [value for value in self.severities if low <= value <= high]
        corners = np.interp([low, *inside, high], self.severities, self.steps)
        return tuple(range(round(corners.min()), round(corners.max()) + 1))


class OtherStrength(BaseTransform):
    """Gives the damage of a pair another strength: at severity 0.5 as it was recorded, at 0 none, at 1 twice as much.

    Args:
        severity: In [0, 1]; a pair (low, high) draws uniformly per sample.

    Raises:
        ConfigError: `severity` is no such number or pair.
    """

    def __init__(self, severity: Severity):
        self.severity = _check_severity(severity)

    def transform(self, results: dict) -> dict:
        """Sets `lq`, uint8 (H, W, 3), rounded, and the `severity` that was drawn; leaves a generative sample."""
        if results["generative"]:
            return results
        results["severity"] = _drawn(self.severity, results["rng"])
        changed = self.changed(results["lq"], results["gt"], 2 * results["severity"])
        results["lq"] = np.rint(np.clip(changed, 0, 255)).astype(np.uint8)
        return results

    @abstractmethod
    def changed(self, lq: np.ndarray, gt: np.ndarray, factor: float) -> np.ndarray:
        """LQ in about [0, 255] of `factor` times the damage, of a pair of uint8 (H, W, 3)."""


@TRANSFORMS.register_module()
class FadePair(OtherStrength):
    """Gives the damage of a pair another strength: its LQ becomes GT + 2 severity (LQ - GT).

    At severity 0.5 it is as it was recorded, at 0 there is none, and between the picture is a mixture of the two. This
    is what thinner haze, sparser light of rain and less noise are, and near to what less darkness is; beyond 0.5 the
    difference is continued, which holds for what was added, such as streaks of rain, up to twice as much.

    Args:
        severity: In [0, 1]; a pair (low, high) draws uniformly per sample.

    Raises:
        ConfigError: `severity` is no such number or pair.
    """

    def changed(self, lq: np.ndarray, gt: np.ndarray, factor: float) -> np.ndarray:
        """GT + factor (LQ - GT)."""
        gt = gt.astype(np.float32)
        return gt + np.float32(factor) * (lq - gt)


@TRANSFORMS.register_module()
class ThickenHaze(OtherStrength):
    """Gives the haze of a pair another density, by the depth that it was rendered with; its airlight has to be white.

    At severity 0.5 it is about as it was recorded, at 0 there is none, and at 1 it is twice as thick.

    Args:
        severity: In [0, 1]; a pair (low, high) draws uniformly per sample.

    Raises:
        ConfigError: `severity` is no such number or pair.
    """

    def changed(self, lq: np.ndarray, gt: np.ndarray, factor: float) -> np.ndarray:
        """GT in haze whose scattering coefficient is `factor` as large (`dtir.imaging.haze`)."""
        gt = _unit(gt)
        return 255 * scatter_light(gt, -np.log(transmission(_unit(lq), gt)), factor, np.ones(3))


@TRANSFORMS.register_module()
class DegradeAgain(Degrade):
    """Degrades the `lq` of a real pair further; the `gt` stays the clean picture."""

    source = "lq"

    def joins(self, part: Part) -> bool:
        """True: the damage of the dataset is in the pair."""
        return True


def _drawn(severity: Severity, rng: np.random.Generator) -> float:
    return rng.uniform(*severity) if np.ndim(severity) else severity


def _unit(picture: np.ndarray) -> np.ndarray:
    return picture.astype(np.float32, order="C") / np.float32(255)


def _error(before: np.ndarray, after: np.ndarray) -> float:
    return float(np.square(after - before).mean())


def _check_severity(severity: Severity) -> Severity:
    values = np.ravel(severity)
    if len(values) in (1, 2) and 0 <= values[0] <= values[-1] <= 1:
        return severity
    raise ConfigError(f"severity={severity}: expected a number in [0, 1], or a pair (low, high) of them.")


def build_degradation(degradation: str | dict | Callable) -> Callable:
    """Builds a degradation from its class name or config; a callable is returned as it is."""
    if isinstance(degradation, str):
        degradation = {"type": degradation}
    return DEGRADATIONS.build(degradation) if isinstance(degradation, dict) else degradation
