"""Restoration along a process between the clean and the degraded picture (docs/method.md, section 8)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.samplers import gaussian_like
from dtir.diffusion.samplers.bridges import BridgeSampler
from dtir.diffusion.schedulers import DenoisingSDE, optimal_transport_pairs
from dtir.diffusion.schedulers.bridge import Bridge, SDEBridge
from dtir.models.losses import per_sample
from dtir.registry import LOSSES, RESTORERS, SCHEDULERS

from .draws import BatchDraws
from .missing import check_missing, missing_pixels, with_mask
from .sampling import SamplingRestorer

MATCHING = ("output", "step")
SOURCES = ("degraded", "noise", "coupled_noise")


@RESTORERS.register_module()
class BridgeRestorer(SamplingRestorer):
    """A network `f(x_t, y, t)` trained on the states between x and y, from which a reverse process starts at y.

    IR-SDE, GOUB, I2SB, DDBM, ResShift, InDI, cold diffusion, DiffUIR and flow matching differ in their `scheduler`, the
    process and what a network predicts in it, and in their `sampler`.

    Args:
        backbone: Config of a conditional network, such as `ConditionalNAFNet`, `UnetRes` or `UNetModelSwin`.
        tasks: Names of the degradations, in the order of the dataset's tasks.
        scheduler: Config of the process, a `Bridge`.
        sampler: Config of the reverse process, a `BridgeSampler`.
        loss: Config of the loss; L1 by default.
        matching: What is compared. "output": the network's output with what it should be. "step": of processes given by
            a differential equation, the mean of the reverse step from t to t - 1 with that of the exact posterior, the
            "optimum" of IR-SDE (Luo et al., ICML 2023, equation 13) and GOUB.
        source: Where paths end: at the degraded picture, or at "noise", or at "coupled_noise" that is paired within a
            batch for the shortest paths between pictures of one condition (`optimal_transport_pairs`). The degraded
            picture is a condition in any case.
        missing: Value in [0, 1] of the pixels that are to be filled, such as 1.0 for white strokes; None where none
            are. The network is given a mask as one more channel of the condition, and the known pixels are put back.
        time_scale: What the process's number for a step is multiplied with before the network is told: its embedding
            may be made for numbers up to 1000 where a process counts from 0 to 1.
        num_steps: As in `SamplingRestorer`.
        seed: As in `SamplingRestorer`.
        tile: As in `SamplingRestorer`.
        tile_overlap: As in `SamplingRestorer`.
        data_preprocessor: As in `SamplingRestorer`.
        codec: As in `SamplingRestorer`: what process and network see.
        domain: As in `SamplingRestorer`.
        condition: As in `SamplingRestorer`.
        tile_blend: As in `SamplingRestorer`.

    Raises:
        ConfigError: An option is not one of those named, or process, sampler and matching do not go together.
    """

    def __init__(
        self,
        backbone: dict,
        tasks: Sequence[str],
        scheduler: dict,
        sampler: dict | None = None,
        loss: dict | None = None,
        matching: str = "output",
        source: str = "degraded",
        missing: float | None = None,
        time_scale: float = 1.0,
        num_steps: int | None = None,
        seed: int = 0,
        tile: int | None = None,
        tile_overlap: int = 32,
        data_preprocessor: dict | None = None,
        codec: str | dict | None = None,
        domain: str | None = None,
        condition: str = "code",
        tile_blend: str = "cosine",
    ) -> None:
        sampler = sampler or {"type": "PosteriorSampler"}
        states = {"codec": codec, "domain": domain, "condition": condition, "tile_blend": tile_blend}
        super().__init__(backbone, tasks, sampler, num_steps, seed, tile, tile_overlap, data_preprocessor, **states)
        self.scheduler = self.sampling_scheduler = SCHEDULERS.build(scheduler)
        self.loss = LOSSES.build(loss or {"type": "L1Loss"})
        self.matching, self.source, self.time_scale = matching, source, time_scale
        self.missing = missing
        self._check()

    def losses(self, lq: Tensor, samples: dict) -> dict[str, Tensor]:
        """`loss_bridge`; the samples also hold `noise_seed` (int).

        Raises:
            ConfigError: The stage asks for generative samples.
        """
        self.refuse_generative(samples)
        (x0, _), (condition, _) = self.codec.encode(samples["gt"]), self.codec.encode(lq)
        draws = BatchDraws(x0, samples["noise_seed"], samples["slots"], samples.get("step_size"))
        t, eps = self._times(draws), draws.noise()
        mu, eps = self._ends(x0, condition, eps)
        x_t = self.scheduler.add_noise(x0, mu, eps, t)
        state, told = self.scheduler.network_input(x_t, t)
        out = self.call_network(state, self._network_condition(condition, lq), told * self.time_scale)
        compare = self._step_loss if self.matching == "step" else self._output_loss
        return {"loss_bridge": compare(out, x_t, x0, mu, eps, t).mean()}

    @override
    def sample(self, lq: Tensor, generator: torch.Generator) -> Tensor:
        condition, kept = self.codec.encode(lq)
        given = self._network_condition(condition, lq)
        result = self.sampler.sample(
            lambda x, t: self.evaluate(x, given, t * self.time_scale),
            self.scheduler,
            condition if self.source == "degraded" else gaussian_like(condition, generator),
            num_steps=self.num_steps,
            generator=generator,
            callback=self.report_progress,
        )
        restored = self.codec.decode(result.sample, kept, lq)
        return restored if self.missing is None else torch.where(missing_pixels(lq, self.missing), restored, lq)

    def _network_condition(self, condition: Tensor, lq: Tensor) -> Tensor:
        """What the network is given of the degraded pictures, with a mask where pixels may be missing."""
        given = self.given(condition, lq)
        if self.missing is None:
            return given
        return with_mask(given, missing_pixels(self.beside_codes(lq, condition), self.missing))

    def _times(self, draws: BatchDraws) -> Tensor:
        """Steps (N,), or times (N,) of a process that has them."""
        if self.scheduler.continuous:
            return self.scheduler.time_at(draws.uniform())
        return draws.steps(self.scheduler.last_trained)

    def _ends(self, x0: Tensor, condition: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Where the paths end, and the noise on the way, (B, 3, H, W) each."""
        if self.source == "degraded":
            return condition, eps
        mu = eps if self.source == "noise" else eps[optimal_transport_pairs(x0, eps, condition)]
        return mu, torch.zeros_like(eps)

    def _output_loss(self, out: Tensor, x_t: Tensor, x0: Tensor, mu: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        return per_sample(self.loss, out, self.scheduler.target(x_t, x0, mu, eps, t))

    def _step_loss(self, out: Tensor, x_t: Tensor, x0: Tensor, mu: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        predicted = self.scheduler.eps_from_output(x_t, out, mu, t)
        drift, _ = self.scheduler.reverse_sde(x_t, predicted, mu, t, t - 1)
        mean, _ = self.scheduler.posterior(x_t, x0, mu, t, t - 1)
        return per_sample(self.loss, x_t - drift, mean)

    def _check(self) -> None:
        for name, value, known in (("matching", self.matching, MATCHING), ("source", self.source, SOURCES)):
            if value not in known:
                raise ConfigError(f"model.{name}='{value}'; expected one of {', '.join(known)}.")
        process = type(self.scheduler).__name__
        if not isinstance(self.scheduler, Bridge) or isinstance(self.scheduler, DenoisingSDE):
            raise ConfigError(
                f"model.scheduler: {process} does not end at a degraded picture; expected a process such as IRSDE or "
                "I2SB. For processes to noise there is ConditionalDiffusionRestorer."
            )
        if not isinstance(self.sampler, BridgeSampler):
            raise ConfigError(
                f"model.sampler: {type(self.sampler).__name__} runs a process from noise; expected one from the "
                "degraded picture, such as PosteriorSampler."
            )
        if self.matching == "step" and not isinstance(self.scheduler, SDEBridge):
            raise ConfigError(f"model.matching='step' needs a process such as IRSDE or GOUB; {process} has 'output'.")
        check_missing(self.backbone, self.missing)
        if self.missing is not None and self.codec.factor > 1 and self.condition == "code":
            raise ConfigError("model.missing: the mask is of pixels; give the network these too, condition='picture'.")
        self.set_sampling(self.num_steps)
