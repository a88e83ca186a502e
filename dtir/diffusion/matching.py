"""Time-step matching (Lu et al., arXiv 2506.21722, Algorithm 2): the step whose noise a degradation is most like."""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor

from dtir.core.errors import ConfigError, TaskError
from dtir.diffusion.domain import to_centred, to_image
from dtir.diffusion.samplers import DDIMSampler, gaussian_like
from dtir.diffusion.schedulers.base import Scheduler, trailing_steps

PredictResidual = Callable[[Tensor, Tensor], Tensor]
Metric = Callable[[Tensor, Tensor], Tensor]

# An MSE of 1e-10 is 100 dB: a picture that is already perfect then has a finite score.
_MSE_FLOOR = 1e-10

# Not 0 or another seed that callers use: noise that repeats the noise in a picture would give it a false score.
_NOISE_SEED = 250621722


def psnr(pred: Tensor, gt: Tensor) -> Tensor:
    """PSNR in dB of each picture, (B,), of RGB pictures (B, 3, H, W) in [0, 1]; no rounding, at most 100 dB."""
    return -10 * (pred - gt).square().mean(dim=(1, 2, 3)).clamp(min=_MSE_FLOOR).log10()


MATCHING_METRICS: dict[str, Metric] = {"psnr": psnr}


def _steps(y: Tensor, t: int) -> Tensor:
    return torch.full((len(y),), t, device=y.device)


def subtract(predict_residual: PredictResidual, scheduler: Scheduler, y: Tensor, t: int, eps: Tensor) -> Tensor:
    """Method 'subtract': `y - s_t r(y, t)`, with s_t the noise scale of step t in image units."""
    return y - scheduler.noise_scale(t) * predict_residual(y, _steps(y, t))


def predict_x0(predict_residual: PredictResidual, scheduler: Scheduler, y: Tensor, t: int, eps: Tensor) -> Tensor:
    """Method 'predict_x0': y is taken for x_t itself, so the centred result is also divided by sqrt(abar_t)."""
    return to_image(scheduler.x0_from_eps(to_centred(y), predict_residual(y, _steps(y, t)), t))


def diffuse_reverse(
    predict_residual: PredictResidual,
    scheduler: Scheduler,
    y: Tensor,
    t: int,
    eps: Tensor,
    max_reverse_steps: int | None = None,
) -> Tensor:
    """Method 'diffuse_reverse': y noised with `eps` to step t, then deterministic DDIM back to 0.

    Args:
        predict_residual: As in `match_timestep`.
        scheduler: The forward process.
        y: Degraded pictures (B, 3, H, W) in [0, 1].
        t: Step, at least 1.
        eps: Standard normal noise like y.
        max_reverse_steps: Most network evaluations of one reverse run; None for every step from t to 1.

    Raises:
        ConfigError: max_reverse_steps is under 1.
    """
    n = t if max_reverse_steps is None else min(t, max_reverse_steps)
    result = DDIMSampler().sample(
        lambda x_t, steps: predict_residual(to_image(x_t), steps),
        scheduler,
        scheduler.add_noise(to_centred(y), eps, t),
        timesteps=trailing_steps(t, n)[::-1],
    )
    return to_image(result.sample)


# Name -> estimate of the clean picture at step t >= 1; users may add their own.
MATCHING_METHODS: dict[str, Callable[..., Tensor]] = {
    "subtract": subtract,
    "predict_x0": predict_x0,
    "diffuse_reverse": diffuse_reverse,
}


@dataclass(frozen=True)
class MatchingCurve:
    """Scores of one degradation over the time steps; all else is derived from them.

    Attributes:
        task: Name of the degradation.
        timesteps: Steps that were scored, ascending.
        scores: One row per picture, one column per step; higher is better.
        method: Name of the method.
        metric: Name of the metric.
        mean: Mean score of each step over the pictures.
        std: Population standard deviation of each step over the pictures.
        t_star: The matched step, argmax of the mean; the smallest on a tie.

    Raises:
        TaskError: There are no pictures or a score is not finite.
    """

    task: str
    timesteps: list[int]
    scores: list[list[float]]
    method: str
    metric: str
    mean: list[float] = field(init=False)
    std: list[float] = field(init=False)
    t_star: int = field(init=False)

    def __post_init__(self) -> None:
        self._check()
        # fsum is exact, so that the mean does not depend on the order in which ranks or batches are merged.
        mean = [math.fsum(column) / len(column) for column in zip(*self.scores, strict=True)]
        squares = [
            math.fsum((s - m) ** 2 for s in column)
            for column, m in zip(zip(*self.scores, strict=True), mean, strict=True)
        ]
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", [math.sqrt(s / self.num_images) for s in squares])
        object.__setattr__(self, "t_star", self.peak(self.timesteps[0]))

    def _check(self) -> None:
        if not self.scores:
            raise TaskError(f"matching of task '{self.task}': there are no pictures to score; give at least one pair.")
        bad = sorted(
            {t for row in self.scores for t, s in zip(self.timesteps, row, strict=True) if not math.isfinite(s)}
        )
        if bad:
            raise TaskError(
                f"matching of task '{self.task}': scores ({self.metric}, {self.method}) are not finite at t = "
                f"{', '.join(map(str, bad))}. Check the pictures, and that the pre-training loss did not diverge."
            )

    @property
    def num_images(self) -> int:
        """Number of pictures scored."""
        return len(self.scores)

    def peak(self, first: int = 0) -> int:
        """The argmax of the mean over the steps from `first` on; `t_star` is that over all.

        Raises:
            ConfigError: No step is that large.
        """
        allowed = [(mean, -t) for mean, t in zip(self.mean, self.timesteps, strict=True) if t >= first]
        if not allowed:
            raise ConfigError(
                f"matching of task '{self.task}': no step from {first} on; the last is {self.timesteps[-1]}."
            )
        return -max(allowed)[1]

    def picture_peaks(self, first: int = 0) -> list[int]:
        """The argmax of each picture's own scores over the steps from `first` on; the smallest on a tie.

        Raises:
            ConfigError: No step is that large.
        """
        rows = (type(self)(self.task, self.timesteps, [row], self.method, self.metric) for row in self.scores)
        return [row.peak(first) for row in rows]

    @property
    def gain(self) -> float:
        """Peak of the mean over its value at the smallest step, which is the input's own score where that step is 0."""
        return max(self.mean) - self.mean[0]

    def to_dict(self) -> dict:
        """Returns plain types for JSON and checkpoints; mean, std, t_star, num_images are there for readers."""
        names = ("task", "timesteps", "scores", "method", "metric", "mean", "std", "t_star", "num_images")
        return {name: getattr(self, name) for name in names}

    @classmethod
    def from_dict(cls, data: dict) -> "MatchingCurve":
        """Inverse of `to_dict`; what can be derived is derived again."""
        return cls(**{name: data[name] for name in ("task", "timesteps", "scores", "method", "metric")})

    @classmethod
    def merge(cls, curves: Sequence["MatchingCurve"]) -> "MatchingCurve":
        """Joins the pictures of several curves of one task, from ranks or from batches of other sizes.

        Raises:
            TaskError: The curves differ in task, steps, method or metric.
        """
        kinds = {(c.task, tuple(c.timesteps), c.method, c.metric) for c in curves}
        if len(kinds) != 1:
            tasks = ", ".join(sorted({c.task for c in curves})) or "none"
            raise TaskError(f"matching curves to merge must agree in task, steps, method and metric (tasks: {tasks}).")
        first = curves[0]
        scores = [row for curve in curves for row in curve.scores]
        return cls(first.task, first.timesteps, scores, first.method, first.metric)


def match_timestep(
    predict_residual: PredictResidual,
    scheduler: Scheduler,
    lq: Tensor,
    gt: Tensor,
    *,
    task: str = "unnamed",
    method: str = "subtract",
    metric: str | Metric = "psnr",
    timesteps: Sequence[int] | None = None,
    batch_size: int = 8,
    generator: torch.Generator | None = None,
    callback: Callable[[int, int], None] | None = None,
    **options: object,
) -> MatchingCurve:
    """Scores a degradation at every time step with the pre-trained network; nothing is trained.

    Estimates are clipped to [0, 1] before they are scored, as every picture that leaves the toolbox is. t = 0 scores
    y itself. One draw of noise serves all steps of a picture, so that steps are compared on equal terms.

    Args:
        predict_residual: `(y (B, 3, H, W) in image units, t (B,) long) -> r (B, 3, H, W)` in units of eps, that is
            of unit variance on noised clean pictures. Must be in eval mode.
        scheduler: The forward process; the pictures are moved to its device.
        lq: Degraded pictures (N, 3, H, W) in [0, 1]. Merge curves where sizes differ.
        gt: Clean pictures, the same shape.
        task: Name of the degradation, for the curve and for errors.
        method: A key of `MATCHING_METHODS`.
        metric: 'psnr', or `(pred, gt) -> (B,)`, higher better (LPIPS: negated); both are (B, 3, H, W) in [0, 1].
        timesteps: Steps to score, ascending; None for 0..T.
        batch_size: Pictures per network evaluation.
        generator: Source of the noise of 'diffuse_reverse'; None for a CPU generator of fixed seed. The global
            random state is not touched.
        callback: Called as `(done, total)` after each step of each batch.
        **options: Of the method: `max_reverse_steps` of 'diffuse_reverse'.

    Raises:
        ConfigError: Unknown method, metric or option, or steps that cannot be used.
        TaskError: lq and gt are not float or differ in shape, there are none, or a score is not finite.
    """
    estimate = partial(_choose_method(method, options), predict_residual, scheduler)
    score, metric_name = _choose_metric(metric)
    steps = _check_steps(timesteps, scheduler.num_timesteps)
    _check_pictures(task, lq, gt)
    device = scheduler.marginal(0)[0].device
    pairs = [(y.to(device), x.to(device)) for y, x in zip(lq.split(batch_size), gt.split(batch_size), strict=True)]
    generator = torch.Generator().manual_seed(_NOISE_SEED) if generator is None else generator
    scores = score_pairs(estimate, score, pairs, steps, generator, callback)
    return MatchingCurve(task, steps, scores.double().cpu().tolist(), method, metric_name)


@torch.no_grad()
def score_pairs(
    estimate: Callable[[Tensor, int, Tensor], Tensor],
    score: Metric,
    pairs: Sequence[tuple[Tensor, Tensor]],
    steps: Sequence[int],
    generator: torch.Generator | None = None,
    callback: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Scores each picture at each step without waiting for the device.

    Args:
        estimate: `(y, t, eps) -> clean estimate` for t >= 1.
        score: Metric, `(pred, gt) -> (B,)`.
        pairs: Batches of LQ and GT pictures (B, 3, H, W) in [0, 1].
        steps: Steps to score.
        generator: Source of the noise.
        callback: Called as `(done, total)` after each step of each batch.

    Returns:
        Scores (N, len(steps)).
    """
    columns: list[Tensor] = []
    for y, x in pairs:
        eps = gaussian_like(y, generator)
        for t in steps:
            columns.append(score((estimate(y, t, eps) if t else y).clamp(0, 1), x))
            if callback is not None:
                callback(len(columns), len(pairs) * len(steps))
    k = len(steps)
    return torch.cat([torch.stack(columns[i : i + k], dim=1) for i in range(0, len(columns), k)])


def _check_pictures(task: str, lq: Tensor, gt: Tensor) -> None:
    usable = lq.is_floating_point() and gt.is_floating_point() and lq.shape == gt.shape and len(lq)
    if not usable:
        raise TaskError(
            f"matching of task '{task}': lq is {lq.dtype} {tuple(lq.shape)} and gt {gt.dtype} {tuple(gt.shape)}; "
            "expected float pictures (N, 3, H, W) in [0, 1], N at least 1, both of one shape."
        )


def _choose_method(method: str, options: dict) -> Callable[[PredictResidual, Scheduler, Tensor, int, Tensor], Tensor]:
    if method not in MATCHING_METHODS:
        raise ConfigError(f"unknown matching method '{method}': expected one of {', '.join(MATCHING_METHODS)}.")
    function = MATCHING_METHODS[method]
    known = list(inspect.signature(function).parameters)[5:]
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(
            f"unknown option '{unknown[0]}' of matching method '{method}': expected {', '.join(known) or 'no options'}."
        )
    return partial(function, **options)


def _choose_metric(metric: str | Metric) -> tuple[Metric, str]:
    if callable(metric):
        return metric, getattr(metric, "__name__", type(metric).__name__)
    if metric not in MATCHING_METRICS:
        known = ", ".join(MATCHING_METRICS)
        raise ConfigError(f"unknown matching metric '{metric}': expected one of {known}, or a function.")
    return MATCHING_METRICS[metric], metric


def _check_steps(timesteps: Sequence[int] | None, last: int) -> list[int]:
    steps = [int(t) for t in (range(last + 1) if timesteps is None else timesteps)]
    ascending = all(a < b for a, b in pairwise(steps))
    if not steps or not ascending or steps[0] < 0 or steps[-1] > last:
        raise ConfigError(f"timesteps={steps} to match must be ascending steps of 0..{last}.")
    return steps


def distinct_steps(curves: Sequence[MatchingCurve], first: int = 0) -> dict[str, int]:
    """Gives every task a step of its own: the assignment of distinct steps with the largest sum of mean scores.

    Tasks whose curves peak at the same step would otherwise get the same prompt, and the network could tell them apart
    by the picture alone. Equal to the argmax of each curve where these differ.

    Args:
        curves: One curve per task, all over the same steps.
        first: Smallest step that may be assigned.

    Returns:
        Step by task name.

    Raises:
        ConfigError: There are fewer steps from `first` on than tasks.
    """
    from scipy.optimize import linear_sum_assignment

    columns = [column for column, t in enumerate(curves[0].timesteps) if t >= first]
    steps = [curves[0].timesteps[column] for column in columns]
    if len(steps) < len(curves):
        raise ConfigError(f"{len(curves)} tasks cannot have distinct steps out of {len(steps)} from {first} on.")
    scores = [[curve.mean[column] for column in columns] for curve in curves]
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return {curves[row].task: steps[column] for row, column in zip(rows, columns, strict=True)}
