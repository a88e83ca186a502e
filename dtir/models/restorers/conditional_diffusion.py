"""Conditional direct diffusion: the degraded picture is an input of the network that predicts the noise."""

import inspect
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.domain import to_centred
from dtir.diffusion.predictions import Coefficients, check_prediction, coefficients
from dtir.diffusion.samplers import Denoiser, Sampler, gaussian_like
from dtir.models.codecs import CentredCodec
from dtir.models.losses import per_sample
from dtir.models.probing import try_scheduler
from dtir.registry import LEVELS, LOSSES, RESTORERS, SCHEDULERS

from .draws import BatchDraws
from .missing import check_missing, loss_on_missing, missing_pixels, with_mask
from .sampling import SamplingRestorer

# What stands for a dropped condition; of centred pictures, mid-grey.
DROPPED = 0.0
STARTS = ("noise", "degraded")


@RESTORERS.register_module()
class ConditionalDiffusionRestorer(SamplingRestorer):
    """A network `f(x_t, y, level)` that predicts the noise in x_t, or the clean picture, given the degraded picture y.

    SR3 (Saharia et al., "Image Super-Resolution via Iterative Refinement", TPAMI 2022) and Palette (Saharia et al.,
    SIGGRAPH 2022) with `NoiseLevel`; with `TimestepLevel` the same on the steps of DDPM; with `EDMScheduler`,
    `LogNormalLevel` and `predicts="edm"` it is EDM's (Karras et al., NeurIPS 2022). The network sees centred pictures
    in [-1, 1], or codes where there is a `codec`: latent diffusion, of which StableSR is one.

    Args:
        backbone: Config of the network, such as `ConditionalUNet` or `ConditionalNAFNet`.
        tasks: Names of the degradations, in the order of the dataset's tasks.
        scheduler: Config of the forward process of the training; 1000 steps of DDPM by default.
        level: Config of what tells the network how noisy x_t is, `NoiseLevel` or `TimestepLevel`.
        loss: Config of the loss between the prediction and what it should be.
        predicts: What the network predicts: "eps", "x0", "v" or "edm", see `dtir.diffusion.predictions`.
        loss_weight: Weight of each sample: "uniform", or "min_snr" (Hang et al., ICCV 2023).
        sigma_data: Standard deviation of centred clean pictures that "edm" assumes.
        condition_dropout: Share in [0, 1) of the training samples whose condition is replaced by mid-grey, so that the
            network is an unconditional one too (Ho and Salimans, "Classifier-Free Diffusion Guidance", 2022).
        sampler: Config of a sampler of processes to noise; `DDIMSampler` by default.
        num_steps: Steps of a sampling; None for all of the schedule.
        spacing: Spacing of these steps, "trailing", "linspace" or "karras", see `Scheduler.sample_steps`.
        start: What samplings begin with: "noise", or the noised "degraded" picture, as in StableSR.
        sampling_scheduler: Config of the process that is sampled on; by default the training's own.
        guidance_scale: w in `eps = eps_without + w (eps_with - eps_without)`; 1 is the plain conditional network, other
            values take two evaluations, in one call.
        clip: Bound in centred units that predicted clean pictures are clipped to in every step of a sampling, as SR3
            does; None for no clipping. By default 1, and None for codes.
        missing: Value in [0, 1] of the pixels that are to be filled, such as 1.0 for white strokes; None where none
            are. The network is given a mask as one more channel of the condition and sees the known pixels in the state
            too, the loss is over the missing pixels, and the known ones come out as they are, as in Palette's
            inpainting and uncropping.
        seed: As in `SamplingRestorer`.
        tile: As in `SamplingRestorer`.
        tile_overlap: As in `SamplingRestorer`.
        data_preprocessor: As in `SamplingRestorer`.
        codec: As in `SamplingRestorer`.
        condition: As in `SamplingRestorer`.
        tile_blend: As in `SamplingRestorer`.

    Raises:
        ConfigError: The network takes no condition, or no mask where pixels are missing, the sampler is none of
            processes to noise, the level does not go with the schedules, `num_steps` is more than the schedule has, the
            dropout is outside [0, 1), or guidance is asked of a network that never went without its condition.
    """

    def __init__(
        self,
        backbone: dict,
        tasks: Sequence[str],
        scheduler: dict | None = None,
        level: dict | None = None,
        loss: dict | None = None,
        predicts: str = "eps",
        loss_weight: str = "uniform",
        sigma_data: float = 0.5,
        condition_dropout: float = 0.0,
        sampler: dict | None = None,
        num_steps: int | None = 50,
        spacing: str = "trailing",
        start: str = "noise",
        sampling_scheduler: dict | None = None,
        guidance_scale: float = 1.0,
        clip: float | str | None = "auto",
        missing: float | None = None,
        seed: int = 0,
        tile: int | None = None,
        tile_overlap: int = 32,
        data_preprocessor: dict | None = None,
        codec: str | dict | None = None,
        condition: str = "code",
        tile_blend: str = "cosine",
    ) -> None:
        sampler = sampler or {"type": "DDIMSampler"}
        states = {"codec": codec, "condition": condition, "tile_blend": tile_blend}
        super().__init__(backbone, tasks, sampler, num_steps, seed, tile, tile_overlap, data_preprocessor, **states)
        self.scheduler = SCHEDULERS.build(scheduler or {"type": "DDPMScheduler", "num_timesteps": 1000})
        try_scheduler(self.scheduler)
        self.sampling_scheduler = SCHEDULERS.build(sampling_scheduler) if sampling_scheduler else self.scheduler
        self.level = LEVELS.build(level or {"type": "NoiseLevel"})
        self.loss = LOSSES.build(loss or {"type": "L2Loss"})
        self.predicts, self.loss_weight, self.sigma_data = predicts, loss_weight, sigma_data
        self.condition_dropout = condition_dropout
        self.guidance_scale = guidance_scale
        centred = isinstance(self.codec, CentredCodec)
        self.clip = (1.0 if centred else None) if clip == "auto" else clip
        self.missing, self.spacing, self.start = missing, spacing, start
        self._check()

    def losses(self, lq: Tensor, samples: dict) -> dict[str, Tensor]:
        """`loss_noise`; the samples also hold `noise_seed` (int).

        Raises:
            ConfigError: The stage asks for generative samples.
        """
        self.refuse_generative(samples)
        (x0, _), (code, _) = self.codec.encode(samples["gt"]), self.codec.encode(lq)
        draws = BatchDraws(x0, samples["noise_seed"], samples["slots"], samples.get("step_size"))
        t, u = draws.steps(self.scheduler.num_timesteps), draws.uniform()
        a, sigma, level = self.level.draw(self.scheduler, t, u)
        kept = draws.uniform() >= self.condition_dropout
        eps = draws.noise()
        x_t = a * x0 + sigma * eps
        condition = torch.where(kept.view(-1, 1, 1, 1), self.given(code, lq), DROPPED)
        of = coefficients(self.predicts, a, sigma, self.sigma_data)
        target, weight = of.target(x0, eps), of.loss_weight(a, sigma, self.loss_weight)
        if self.missing is None:
            loss = per_sample(self.loss, self.call_network(of.scale * x_t, condition, level), target)
        else:
            missing = missing_pixels(lq, self.missing)
            state = of.scale * torch.where(missing, x_t, condition)
            out = self.call_network(state, with_mask(condition, missing), level)
            loss = loss_on_missing(self.loss, out, target, missing)
        return {"loss_noise": (weight * loss).mean()}

    @override
    def sample(self, lq: Tensor, generator: torch.Generator) -> Tensor:
        code, kept = self.codec.encode(lq)
        restored = self.codec.decode(self.sampled(code, lq, generator), kept, lq)
        return restored if self.missing is None else torch.where(missing_pixels(lq, self.missing), restored, lq)

    def sampled(self, code: Tensor, lq: Tensor, generator: torch.Generator) -> Tensor:
        """The codes (B, C, h, w) that the sampler makes of degraded pictures.

        Args:
            code: Their own codes (B, C, h, w).
            lq: The pictures (B, 3, H, W) in [0, 1].
            generator: The only source of noise.
        """
        scheduler = self.sampling_scheduler
        denoiser = self._denoiser(self.given(code, lq)) if self.missing is None else self._filling_denoiser(lq)
        a, sigma = scheduler.marginal(scheduler.num_timesteps)
        start = sigma * gaussian_like(code, generator)
        return self.sampler.sample(
            denoiser,
            scheduler,
            start if self.start == "noise" else a * code + start,
            timesteps=scheduler.sample_steps(self.num_steps or scheduler.num_timesteps, self.spacing),
            generator=generator,
            callback=self.report_progress,
        ).sample

    def _denoiser(self, condition: Tensor) -> Denoiser:
        scheduler = self.sampling_scheduler

        def eps_in(x: Tensor, t: Tensor) -> Tensor:
            of = self._coefficients(t)
            out = self._guided(of.scale * x, condition, self.level.of_step(scheduler, t))
            return self._clipped(of.eps(x, out), x, t)

        return eps_in

    def _filling_denoiser(self, lq: Tensor) -> Denoiser:
        """The noise in states of which the network sees only what is missing, the rest being known."""
        scheduler, known, missing = self.sampling_scheduler, to_centred(lq), missing_pixels(lq, self.missing)
        condition = with_mask(known, missing)

        def eps_in(x: Tensor, t: Tensor) -> Tensor:
            of = self._coefficients(t)
            state = of.scale * torch.where(missing, x, known)
            eps = of.eps(x, self.evaluate(state, condition, self.level.of_step(scheduler, t)))
            return torch.where(missing, self._clipped(eps, x, t), scheduler.eps_from_x0(x, known, t))

        return eps_in

    def _coefficients(self, t: Tensor) -> Coefficients:
        return coefficients(self.predicts, *self.sampling_scheduler.marginal(t), self.sigma_data)

    def _clipped(self, eps: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """The noise that goes with the predicted clean picture after it is clipped."""
        if self.clip is None:
            return eps
        a, sigma = self.sampling_scheduler.marginal(t)
        x0 = (x - sigma * eps) / a
        # Added rather than computed anew, so that what needs no clipping keeps its noise to the last bit.
        return eps + a / sigma * (x0 - x0.clamp(-self.clip, self.clip))

    def _guided(self, x: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        if self.guidance_scale == 1:
            return self.evaluate(x, condition, level)
        both = torch.cat([condition, torch.full_like(condition, DROPPED)])
        given, free = self.evaluate(torch.cat([x, x]), both, torch.cat([level, level])).chunk(2)
        return free + self.guidance_scale * (given - free)

    def _check(self) -> None:
        _check_conditional(self.backbone)
        self.level.check(self.scheduler, self.sampling_scheduler)
        if not isinstance(self.sampler, Sampler):
            raise ConfigError(
                f"model.sampler: {type(self.sampler).__name__} runs a process from the degraded picture; expected a "
                "sampler of processes to noise, such as DDIMSampler or AncestralSampler."
            )
        check_missing(self.backbone, self.missing)
        if self.start not in STARTS:
            raise ConfigError(f"model.start='{self.start}'; expected one of {', '.join(STARTS)}.")
        if isinstance(self.clip, str):
            raise ConfigError(f"model.clip='{self.clip}'; expected a number, None, or 'auto'.")
        if not isinstance(self.codec, CentredCodec) and (self.clip is not None or self.missing is not None):
            raise ConfigError(
                "model.codec: codes have no bounds and no pixels; leave out model.clip and model.missing."
            )
        check_prediction(self.predicts, self.loss_weight, self.sigma_data)
        self.sampling_scheduler.sample_steps(1, self.spacing)
        self.set_sampling(self.num_steps)
        if self.missing is not None and (self.condition_dropout or self.guidance_scale != 1):
            raise ConfigError(
                "model.missing: the known pixels are part of the state, so that a network never goes without its "
                "condition; set condition_dropout=0 and guidance_scale=1."
            )
        if not 0 <= self.condition_dropout < 1:
            raise ConfigError(f"model.condition_dropout={self.condition_dropout} must be a number in [0, 1).")
        if self.guidance_scale != 1 and self.condition_dropout == 0:
            raise ConfigError(
                f"model.guidance_scale={self.guidance_scale} needs a network that was trained without its condition "
                "too; set model.condition_dropout, such as 0.1, for the training."
            )


def _check_conditional(backbone: nn.Module) -> None:
    parameters = list(inspect.signature(backbone.forward).parameters)
    if len(parameters) < 3:
        raise ConfigError(
            f"model.backbone: {type(backbone).__name__} takes ({', '.join(parameters)}); expected a conditional "
            "network (x_t, condition, level), such as ConditionalUNet or ConditionalNAFNet."
        )
