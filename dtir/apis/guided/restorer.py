"""Restoring with an unconditional denoiser and a known operator: no training for the task."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from mmengine.registry import Registry
from torch import Tensor

from dtir.apis.restoring.device import resolve_device
from dtir.config.check import accepted_keys
from dtir.config.files import read_config
from dtir.core.errors import CheckpointError, ConfigError
from dtir.core.names import did_you_mean
from dtir.core.seeding import device_generator
from dtir.diffusion.domain import to_image
from dtir.diffusion.operators import Operator
from dtir.diffusion.samplers import gaussian_like
from dtir.models.restorers import DiffusionRestorer
from dtir.registry import GUIDANCE, OPERATORS

CONFIG_KEYS = ("operator", "guidance", "sampler", "sigma_y", "seed")
SAMPLER_KEYS = ("num_steps",)
# What is known only when there is a picture.
SIZE = ("height", "width")
MEASURED = ("operator", "y")

# Counters of random streams beside a seed: the noise of simulated measurements, and that of samples after the first.
MEASUREMENT_NOISE, ANOTHER_SAMPLE = 1, 2


class SampleMean(NamedTuple):
    """Samples of one restoration, centred pictures (B, 3, H, W) each.

    Attributes:
        one: The first sample.
        mean: The mean of all.
        spread: Their standard deviation in every pixel, 0 for a single one.
    """

    one: Tensor
    mean: Tensor
    spread: Tensor


class GuidedRestorer:
    """Restores what a known operator has damaged, `y = A x + sigma_y n`, with the network of a generative training.

    Args:
        checkpoint: Path of a checkpoint of a training with the generative objective (such as
            configs/training_free/ddpm_photos.py), of ADM's published weights or of a folder of diffusers' unconditional
            pipeline, or a `DiffusionRestorer`.
        operator_cfg: Config of an operator; `height` and `width` are those of the picture.
        guidance_cfg: Config of a guidance, without `operator`, `y` and `sigma_y`.
        sampler_cfg: `num_steps`, the steps from T that are taken; None takes all T.
        sigma_y: Standard deviation of the noise of simulated measurements, and what a guidance that knows of noise is
            told; for pictures in [-1, 1].
        seed: Seed of all noise; every call begins with it anew.
        device: Where to compute; None takes CUDA if there is one, else the CPU.

    Attributes:
        num_evals: Evaluations of the network in the last `restore` or `restore_mean`.

    Raises:
        CheckpointError: The checkpoint cannot be read, or was not trained with the generative objective.
        ConfigError: A type or an argument is unknown or missing, or the device cannot be used.
    """

    def __init__(
        self,
        checkpoint: str | Path | DiffusionRestorer,
        operator_cfg: Mapping,
        guidance_cfg: Mapping,
        sampler_cfg: Mapping | None = None,
        sigma_y: float = 0.0,
        seed: int = 0,
        device: str | torch.device | None = None,
    ) -> None:
        if sigma_y < 0:
            raise ConfigError(f"sigma_y={sigma_y} must not be negative.")
        self.sigma_y, self.seed, self.device = sigma_y, seed, resolve_device(device)
        self.operator_type, self.operator_settings = checked_part(OPERATORS, "operator", operator_cfg, SIZE)
        self.guidance_type, self.guidance_settings = checked_part(
            GUIDANCE, "guidance", guidance_cfg, (*MEASURED, "sigma_y")
        )
        self.steps = dict(sampler_cfg or {})
        check_keys("sampler", self.steps, SAMPLER_KEYS)
        self.restorer = _load(checkpoint, self.device)
        self.num_evals = 0

    def operator(self, height: int, width: int) -> Operator:
        """The operator for pictures of a size.

        Raises:
            ConfigError: It cannot measure pictures of this size.
        """
        fitting = self.fitting_size(height, width)
        if fitting != (height, width):
            raise ConfigError(
                f"{self.operator_type.__name__} cannot measure pictures of {height} x {width} pixels; crop them to "
                f"{fitting[0]} x {fitting[1]}."
            )
        given = dict(zip(SIZE, (height, width), strict=True))
        size = {key: value for key, value in given.items() if _takes(self.operator_type, key)}
        fixed = {key: self.operator_settings.get(key, value) for key, value in size.items()}
        if fixed != size:
            raise ConfigError(f"operator: the config is for pictures of {fixed}, these have {size}; leave them out.")
        return self.operator_type(**self.operator_settings | size)

    def fitting_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the largest picture within those given that the operator can measure."""
        return self.operator_type.fitting_size(height, width, **self.operator_settings)

    def picture_size(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the pictures whose measurements, seen as pictures, have those given."""
        return self.operator_type.picture_size(height, width, **self.operator_settings)

    def measure(self, x: Tensor) -> Tensor:
        """Simulated measurements of pictures (B, 3, H, W), centred, with noise.

        Raises:
            ConfigError: See `operator`.
        """
        x = x.to(self.device)
        with torch.no_grad():
            y = self.operator(*x.shape[-2:]).A(x)
        # Another stream than that of the sampler.
        return y + self.sigma_y * gaussian_like(y, device_generator(self.device, self.seed, MEASUREMENT_NOISE))

    def restore_mean(self, y: Tensor, samples: int, size: tuple[int, int] | None = None) -> SampleMean:
        """The mean of some samples, whose squared error is least where they are of the posterior, beside one of them.

        A sample of the posterior has twice the squared error of its mean; the mean of K samples, 1 + 1 / K times. It is
        the nearer picture, and the smoother one.

        Args:
            y: As in `restore`.
            samples: K, at least 1.
            size: As in `restore`.

        Raises:
            ConfigError: `samples` is less than 1; or see `restore`.
        """
        if samples < 1:
            raise ConfigError(f"samples={samples} must be at least 1.")
        one = total = self.restore(y, size)
        squares, evals = one**2, self.num_evals
        for number in range(1, samples):
            sample = self.restore(y, size, number)
            total, squares, evals = total + sample, squares + sample**2, evals + self.num_evals
        self.num_evals = evals
        mean = total / samples
        return SampleMean(one, mean, (squares / samples - mean**2).clamp(min=0).sqrt())

    def restore(self, y: Tensor, size: tuple[int, int] | None = None, number: int = 0) -> Tensor:
        """Pictures (B, 3, H, W), centred and not clipped, that agree with measurements: one sample for each.

        Args:
            y: Measurements, such as `measure` or `Operator.y_from_picture` give them.
            size: Height and width of the pictures, for measurements whose shape does not tell them.
            number: Which sample: each number has noise of its own.

        Raises:
            ConfigError: See `operator`; or the size is needed; or operator and guidance do not go together; or the
                samples diverge.
        """
        if size is None and y.ndim != 4:
            raise ConfigError(
                f"measurements of shape {tuple(y.shape)} do not tell the picture's size; give size=(H, W)."
            )
        height, width = size or self.picture_size(*y.shape[-2:])
        y = y.to(self.device)
        guided = self._guidance(self.operator(height, width), y)
        scheduler = self.restorer.scheduler
        # The noise of another sample is of another stream; the first one's is the seed's own.
        generator = device_generator(self.device, self.seed, *((ANOTHER_SAMPLE, number) if number else ()))
        start = guided.start(scheduler, y.new_empty(len(y), 3, height, width), generator)
        result = guided.sample(self._eps, scheduler, start, generator=generator, **self.steps)
        self.num_evals = result.num_evals
        if not torch.isfinite(result.sample).all():
            raise ConfigError(
                f"{self.guidance_type.__name__} diverged with this network and operator; guide less (a smaller scale, "
                "damping=2 of PiGDM) or train the network longer."
            )
        return result.sample

    def _guidance(self, operator: Operator, y: Tensor):
        noise = {"sigma_y": self.sigma_y} if _takes(self.guidance_type, "sigma_y") else {}
        return self.guidance_type(operator=operator, y=y, **noise, **self.guidance_settings)

    def _eps(self, x: Tensor, t: Tensor) -> Tensor:
        """The noise in centred states: what the network was trained to find in them as pictures."""
        return self.restorer.predict_eps(to_image(x), t)


def guided_settings(path: str | Path) -> dict:
    """Reads a config for `GuidedRestorer`: `operator`, `guidance`, and if wanted `sampler`, `sigma_y` and `seed`.

    Returns:
        Keyword arguments of `GuidedRestorer`.

    Raises:
        ConfigError: The file cannot be read, or has unknown keys or not those that are needed.
    """
    config = read_config(path).to_dict()
    settings = {key: value for key, value in config.items() if not key.startswith("_")}
    check_keys(str(path), settings, CONFIG_KEYS)
    missing = [key for key in ("operator", "guidance") if key not in settings]
    if missing:
        raise ConfigError(f"{path}: missing {', '.join(missing)}; see configs/training_free/ddnm_sr.py.")
    return {f"{key}_cfg" if isinstance(value, dict) else key: value for key, value in settings.items()}


def checked_part(registry: Registry, name: str, config: Mapping, given: tuple[str, ...]) -> tuple[type, dict]:
    """The class that a config names, and its arguments.

    Args:
        registry: Where the class is.
        name: Name of the part, for errors.
        config: `type` and arguments.
        given: Arguments that are not to be in the config, or need not.

    Raises:
        ConfigError: The type or an argument is unknown, or one is missing.
    """
    settings = dict(config)
    wanted = str(settings.pop("type", None))
    kind = registry.get(wanted)
    if kind is None:
        known = sorted(registry.module_dict)
        raise ConfigError(
            f"{name}.type: '{wanted}' is not known.{did_you_mean(wanted, known)} Known: {', '.join(known)}."
        )
    accepted = accepted_keys(kind)
    if accepted is not None:
        check_keys(f"{name} {kind.__name__}", settings, sorted(accepted - set(MEASURED)))
    parameters = inspect.signature(kind).parameters.values()
    needed = [p.name for p in parameters if p.default is p.empty and p.name not in (*settings, *given)]
    if needed:
        raise ConfigError(f"{name} {kind.__name__}: missing {', '.join(needed)}.")
    return kind, settings


def _takes(kind: type, key: str) -> bool:
    known = accepted_keys(kind)
    return known is None or key in known


def check_keys(place: str, found: Mapping, known: tuple[str, ...] | list[str]) -> None:
    """Refuses keys that are not known.

    Raises:
        ConfigError: It names the first one and the nearest valid one.
    """
    for key in found:
        if key not in known:
            raise ConfigError(
                f"{place}: unknown key '{key}'.{did_you_mean(key, known)} Valid keys: {', '.join(known)}."
            )


def _load(checkpoint: str | Path | DiffusionRestorer, device: torch.device) -> DiffusionRestorer:
    restorer = checkpoint
    if isinstance(checkpoint, str | Path):
        from dtir.apis.models.build import load_restorer
        from dtir.apis.published.prior import diffusers_prior, is_diffusers_folder

        restorer = diffusers_prior(checkpoint) if is_diffusers_folder(checkpoint) else load_restorer(checkpoint, device)
    if not isinstance(restorer, DiffusionRestorer):
        raise CheckpointError(
            f"guidance needs a network that was trained with the generative objective (DiffusionRestorer), "
            f"not {type(restorer).__name__}; see configs/training_free/ddpm_photos.py."
        )
    # Gradients go to the state only.
    return restorer.to(device).eval().requires_grad_(False)
