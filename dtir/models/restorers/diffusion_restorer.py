"""One network for two objectives (docs/method.md, section 1): the generative and the reconstructive one."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from dtir.core.errors import ConfigError
from dtir.diffusion.objectives import generative_pair
from dtir.imaging.self_ensemble import averaged_over_flips
from dtir.models.adapters import draw_router_noise
from dtir.models.losses import per_sample
from dtir.models.probing import try_scheduler
from dtir.registry import CONDITIONING, LOSSES, RESTORERS, SCHEDULERS
from dtir.tasks import CLEAN, TASKS, check_task

from .base import Restorer
from .draws import BatchDraws

UNMATCHED = -1
NOISE_UNITS = ("eps", "image")


@RESTORERS.register_module()
class DiffusionRestorer(Restorer):
    """A restoration network F(x, t) trained with the diffusion training paradigm (Lu et al., arXiv 2506.21722).

    F has a global skip, `F(x, t) = x - r(x, t)`. On a clean picture noised to step t the residual r has to be the
    noise; on a degraded picture y with its matched step t* it has to be the degradation y - x.

    Args:
        network: Config of a conditioned network, F(x, t).
        scheduler: Config of the forward process.
        tasks: Names of the degradations, in the order of the dataset's tasks.
        restoration_loss: Config of the loss between F(y, t*) and x.
        generative_loss: Config of the loss between r(x_t, t) and the noise.
        generative_weight: Weight kind lambda_t of the generative loss, "uniform" or "min_snr".
        noise_units: Units of the noise that r has to be: "eps" for unit variance, or "image" for the noise as it is in
            the picture, `s_t eps`. A noisy picture at its matched step has the same residual under both objectives in
            the latter, and one that is `s_t` times the other in the former.
        matched_t: Time steps t* by task name, where they are set by hand: a label of each task, or a published table.
            Tasks without a step stay unmatched, and a `TimestepMatchingHook` replaces them all. A table may name more
            of the ten tasks than the model has.
        flip_average: Whether `restore` gives the mean over the four flips of the picture.
        flips_up_to: As of `Restorer`.
        task_steps: An earlier name of `matched_t`, which checkpoints may have.
        tile: Side of the tiles in prediction, None for whole pictures.
        tile_overlap: Pixels that tiles share.
        data_preprocessor: Config; `RestorationDataPreprocessor` by default.

    Attributes:
        separate_objectives: Whether the two objectives of a batch take a forward pass each. Where the gradient of each
            loss is wanted by itself, every backward pass then goes through its own samples only.
        generative_terms: What each generative sample (N,) of the last batch adds to `loss_generative`.

    Raises:
        ConfigError: A task is named twice or none is given, the scheduler has steps beyond those of the network,
            `noise_units` is none of the two, or a step of `matched_t` is outside 0..T.
        TaskError: `matched_t` names a task that is neither one of the model's nor one of the ten.
    """

    def __init__(
        self,
        network: dict,
        tasks: Sequence[str],
        scheduler: dict | None = None,
        restoration_loss: dict | None = None,
        generative_loss: dict | None = None,
        generative_weight: Literal["uniform", "min_snr"] = "uniform",
        noise_units: Literal["eps", "image"] = "eps",
        matched_t: Mapping[str, int] | None = None,
        flip_average: bool = False,
        flips_up_to: int = 0,
        task_steps: Mapping[str, int] | None = None,
        tile: int | None = None,
        tile_overlap: int = 32,
        data_preprocessor: dict | None = None,
    ) -> None:
        super().__init__(tasks, UNMATCHED, tile, tile_overlap, data_preprocessor)
        self.flips_up_to = flips_up_to
        self.network = CONDITIONING.build(network)
        self.scheduler = SCHEDULERS.build(scheduler or {"type": "DDPMScheduler"})
        try_scheduler(self.scheduler)
        if getattr(self.network, "num_timesteps", math.inf) < self.num_timesteps:
            raise ConfigError(
                f"model.network.num_timesteps={self.network.num_timesteps} is less than the "
                f"{self.num_timesteps} steps of model.scheduler; set it to {self.num_timesteps}."
            )
        if noise_units not in NOISE_UNITS:
            raise ConfigError(f"model.noise_units='{noise_units}'; expected one of {', '.join(NOISE_UNITS)}.")
        self.noise_units = noise_units
        self.restoration_loss = LOSSES.build(restoration_loss or {"type": "L1Loss"})
        self.generative_loss = LOSSES.build(generative_loss or {"type": "L1Loss"})
        self.generative_weight = generative_weight
        self.flip_average = flip_average
        self.separate_objectives = False
        self.generative_terms: Tensor | None = None
        self.set_matched_t(self._own_steps(matched_t or task_steps or {}))

    def _own_steps(self, table: Mapping[str, int]) -> dict[str, int]:
        for name in table:
            check_task(name, tuple(dict.fromkeys((*self.tasks, *TASKS, CLEAN))))
        return {name: t for name, t in table.items() if name in self.tasks}

    @property
    def backbone(self) -> nn.Module:
        """The network inside of the conditioning."""
        return self.network.backbone

    @property
    def num_timesteps(self) -> int:
        """T, the noisiest time step."""
        return self.scheduler.num_timesteps

    def set_matched_t(self, steps: Mapping[str, int]) -> None:
        """Stores matched time steps t* by task name; they are part of the state dict.

        Raises:
            ConfigError: A step is outside 0..T.
            TaskError: A name is not one of the model's tasks.
        """
        for name, t in steps.items():
            if not 0 <= t <= self.num_timesteps:
                raise ConfigError(f"matched_t: {name}={t} is not a step of the model; use 0..{self.num_timesteps}.")
            self.matched_t[self.tasks.index(check_task(name, self.tasks))] = t

    def restore(self, lq: Tensor, t: Tensor) -> Tensor:
        """F(y, t): degraded (B, 3, H, W) in [0, 1] and steps (B,) to restored pictures of that size, not clipped."""
        return averaged_over_flips(self.network, lq, t) if self.flip_average else self.network(lq, t)

    def residual(self, x: Tensor, t: Tensor) -> Tensor:
        """r(x, t) = x - F(x, t), for pictures (B, 3, H, W) and steps (B,)."""
        return x - self.network(x, t)

    def predict_eps(self, x: Tensor, t: Tensor) -> Tensor:
        """The noise of unit variance that the network finds in pictures (B, 3, H, W) of steps (B,), at least 1."""
        residual = self.residual(x, t)
        return residual if self.noise_units == "eps" else residual / self.scheduler.noise_scale(t)

    def generative_target(self, eps: Tensor, t: Tensor) -> Tensor:
        """What r(x_t, t) has to be for noise eps (B, 3, H, W) of unit variance and steps (B,)."""
        return eps if self.noise_units == "eps" else self.scheduler.noise_scale(t) * eps

    def losses(self, lq: Tensor, samples: dict) -> dict[str, Tensor]:
        """`loss_restoration` and `loss_generative`; that of an objective without samples is 0 and has no graph.

        The samples also hold `noise_seed` (int).
        """
        draw_router_noise(self.network, samples["noise_seed"])
        n, gt = samples["num_generative"], samples["gt"]
        y, t = lq[n:], self.steps_of(samples)[n:]
        self.generative_terms = lq.new_zeros(0)
        # Of an objective without samples. It has no graph: a backward pass of zeros would cost as much as any.
        absent = lq.new_zeros(())
        if n == 0:
            loss = per_sample(self.restoration_loss, self.network(y, t), gt).sum()
            return {"loss_restoration": loss / len(lq), "loss_generative": absent}
        t_gen, eps = self._noise(gt, samples)
        x, target = self.noised(gt[:n], t_gen, eps)
        weight = self.scheduler.loss_weight(t_gen, self.generative_weight).flatten()
        if n == len(lq):
            self.generative_terms = weight * per_sample(self.generative_loss, x - self.network(x, t_gen), target) / n
            return {"loss_restoration": absent, "loss_generative": self.generative_terms.sum()}
        if self.separate_objectives:
            generated, restored = self.network(x, t_gen), self.network(y, t)
        else:
            generated, restored = self.network(torch.cat([x, y]), torch.cat([t_gen, t])).tensor_split([n])
        self.generative_terms = weight * per_sample(self.generative_loss, x - generated, target) / len(lq)
        return {
            "loss_restoration": per_sample(self.restoration_loss, restored, gt[n:]).sum() / len(lq),
            "loss_generative": self.generative_terms.sum(),
        }

    def steps_of(self, samples: dict) -> Tensor:
        """Steps (B,) of samples: their own (`step`, from 0 on), or else those of their tasks."""
        matched = self.timestep_of(samples["task"])
        own = samples.get("step")
        return matched if own is None else torch.where(own >= 0, own, matched)

    def noised(self, gt: Tensor, t: Tensor, eps: Tensor) -> tuple[Tensor, Tensor]:
        """Clean pictures (B, 3, H, W) noised to steps (B,) with eps, and the residual that is to be found in them."""
        return generative_pair(gt, eps, t, self.scheduler), self.generative_target(eps, t)

    def generative_losses(self, gt: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """The unweighted generative loss (B,) of clean pictures (B, 3, H, W) at steps (B,) with noise eps."""
        x, target = self.noised(gt, t, eps)
        return per_sample(self.generative_loss, self.residual(x, t), target)

    def _noise(self, gt: Tensor, samples: dict) -> tuple[Tensor, Tensor]:
        """Steps and noise of the generative samples."""
        slots = samples["slots"][: samples["num_generative"]]
        draws = BatchDraws(gt, samples["noise_seed"], slots, samples.get("step_size"))
        t = draws.steps(self.num_timesteps)
        return t, draws.noise()
