"""Guidance without gradients: parts of the sample are replaced by what the measurements say."""

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.guidance.base import Bounds, GuidedSampler, clipped_prediction, noised, stochastic_step
from dtir.diffusion.operators import Inpainting, LinearOperator, SpectralOperator
from dtir.diffusion.operators.base import inverse_or_zero
from dtir.diffusion.samplers.base import Run, gaussian_like
from dtir.diffusion.schedulers.base import Scheduler
from dtir.registry import GUIDANCE


@GUIDANCE.register_module()
class ILVR(GuidedSampler):
    """Iterative latent variable refinement (Choi et al., ICCV 2021): `x' + P(y_t) - P(x')`.

    P is the operator's projection, y_t the picture that the measurements determine, noised to the same step.

    Args:
        operator: A.
        y: Measurements.
        clip: Bounds of the predicted x_0, such as (-1, 1) as published; None for none.
    """

    def __init__(self, operator: LinearOperator, y: Tensor, clip: Bounds = None) -> None:
        super().__init__(operator, y)
        self.clip = clip

    @override
    def advance(self, run: Run, x: Tensor, t: int, t_prev: int) -> Tensor:
        proposed = stochastic_step(run, x, *clipped_prediction(run, x, t, self.clip), t, t_prev, eta=1.0)
        reference = noised(run, self.operator.A_pinv(self.y), t_prev)
        return proposed + self.operator.project(reference - proposed)


@GUIDANCE.register_module()
class RePaint(GuidedSampler):
    """RePaint (Lugmayr et al., CVPR 2022): known pixels are noised anew at every step, and steps are repeated.

    Args:
        operator: An `Inpainting`.
        y: The picture, 0 where it is to be filled.
        resamplings: How often every part of the way is taken; between two, the state is noised back.
        jump_length: Steps of a part, "j" of the paper; there it is 10 resamplings of 10 steps. The last `jump_length`
            steps to the clean picture are part of no other than the last.
        clip: Bounds of the predicted x_0, such as (-1, 1) as published; None for none.

    Raises:
        ConfigError: The operator is none for inpainting, or `resamplings` or `jump_length` is less than 1.
    """

    needs = Inpainting

    def __init__(
        self, operator: Inpainting, y: Tensor, resamplings: int = 10, jump_length: int = 1, clip: Bounds = None
    ) -> None:
        super().__init__(operator, y)
        for name, value in (("resamplings", resamplings), ("jump_length", jump_length)):
            if value < 1:
                raise ConfigError(f"RePaint: {name}={value} must be at least 1.")
        self.resamplings, self.jump_length, self.clip = resamplings, jump_length, clip

    @override
    def path(self, steps: list[int]) -> list[int]:
        """With the ways back: the published schedule, on these steps."""
        places = [0, *sorted(steps)]
        jumps = dict.fromkeys(range(1, len(steps) - self.jump_length + 1, self.jump_length), self.resamplings - 1)
        place, path = len(steps), [len(steps)]
        while place:
            place -= 1
            path.append(place)
            if jumps.get(place, 0):
                jumps[place] -= 1
                path += range(place + 1, place + self.jump_length + 1)
                place += self.jump_length
        return [places[place] for place in path]

    @override
    def advance(self, run: Run, x: Tensor, t: int, t_prev: int) -> Tensor:
        """A noisier step is reached by noise."""
        if t_prev > t:
            forward = run.scheduler.marginal(t_prev)[0] / run.scheduler.marginal(t)[0]
            return forward * x + run.scheduler.step_variance(t_prev, t).sqrt() * gaussian_like(x, run.generator)
        unknown = stochastic_step(run, x, *clipped_prediction(run, x, t, self.clip), t, t_prev, eta=1.0)
        return unknown + self.operator.project(noised(run, self.y, t_prev) - unknown)


@GUIDANCE.register_module()
class DDNM(GuidedSampler):
    """Denoising diffusion null-space model (Wang et al., ICLR 2023): `x_0 + A_pinv (y - A x_0)` in place of x_0.

    With noisy measurements it is DDNM+ (its section 3.3): each singular direction is corrected no further than its
    noise lets it, and gets the less noise anew.

    Args:
        operator: A; with `sigma_y` a `SpectralOperator`.
        y: Measurements.
        sigma_y: Standard deviation of their noise.
        eta: Share of the posterior's noise that is drawn anew.

    Raises:
        ConfigError: There is noise and the operator has no decomposition.
    """

    def __init__(self, operator: LinearOperator, y: Tensor, sigma_y: float = 0.0, eta: float = 0.85) -> None:
        super().__init__(operator, y, sigma_y)
        if sigma_y and not isinstance(operator, SpectralOperator):
            raise ConfigError(f"DDNM with sigma_y={sigma_y} needs a SpectralOperator, not {type(operator).__name__}.")
        self.eta = eta

    @override
    def advance(self, run: Run, x: Tensor, t: int, t_prev: int) -> Tensor:
        eps = run.eps(x, t)
        x0 = run.scheduler.x0_from_eps(x, eps, t)
        missing = self.y - self.operator.A(x0)
        if not self.sigma_y:
            return stochastic_step(run, x, x0 + self.operator.A_pinv(missing), eps, t, t_prev, self.eta)
        return self._noisy_step(run, x, x0, eps, missing, t_prev)

    def _noisy_step(self, run: Run, x: Tensor, x0: Tensor, eps: Tensor, missing: Tensor, t_prev: int) -> Tensor:
        a, sigma = run.scheduler.marginal(t_prev)
        s = self.operator.singular_values(x)
        carried = a * self.sigma_y * inverse_or_zero(s)
        # What is corrected of a direction, so that the noise it brings fits into that of the step.
        share = torch.where(carried > 0, (sigma / carried.clamp(min=torch.finfo(x.dtype).tiny)).clamp(max=1), 1.0)
        z = self.operator.measured_spectrum(missing) * inverse_or_zero(s) * share
        left = (sigma**2 - (share * carried) ** 2).clamp(min=0).sqrt()
        noise = (1 - self.eta**2) ** 0.5 * eps + self.eta * gaussian_like(x, run.generator)
        return a * x0 + self.operator.from_spectrum(a * z + left * self.operator.to_spectrum(noise))


@GUIDANCE.register_module()
class DDRM(GuidedSampler):
    """Denoising diffusion restoration model (Kawar et al., NeurIPS 2022), in the operator's singular directions.

    Args:
        operator: A `SpectralOperator`.
        y: Measurements.
        sigma_y: Standard deviation of their noise.
        eta: Share of noise drawn anew where the measurements say nothing, or less than the state.
        eta_b: Weight of the measurements where they say more.
    """

    needs = SpectralOperator

    def __init__(
        self, operator: SpectralOperator, y: Tensor, sigma_y: float = 0.0, eta: float = 0.85, eta_b: float = 1.0
    ) -> None:
        super().__init__(operator, y, sigma_y)
        self.eta, self.eta_b = eta, eta_b

    def start(self, scheduler: Scheduler, like: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """The state at T (its equation 4): the measurements, noised, and noise where nothing is measured."""
        a, sigma = scheduler.marginal(scheduler.num_timesteps)
        s, y = self._measured(like)
        spread = ((sigma / a) ** 2 - (self.sigma_y * inverse_or_zero(s)) ** 2).clamp(min=0).sqrt()
        return a * self.operator.from_spectrum(y + spread * self.operator.to_spectrum(gaussian_like(like, generator)))

    def _measured(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Singular values, and `U^T y / s`."""
        s = self.operator.singular_values(like)
        return s, self.operator.measured_spectrum(self.y) * inverse_or_zero(s)

    @override
    def advance(self, run: Run, x: Tensor, t: int, t_prev: int) -> Tensor:
        """Equations 7 and 8 of the paper, on states divided by a_t."""
        (a, sigma), (a_prev, sigma_prev) = run.scheduler.marginal(t), run.scheduler.marginal(t_prev)
        now, then = sigma / a, sigma_prev / a_prev
        guess = self.operator.to_spectrum(run.scheduler.x0_from_eps(x, run.eps(x, t), t))
        state = self.operator.to_spectrum(x / a)
        s, y = self._measured(x)
        noise = self.sigma_y * inverse_or_zero(s)
        fresh = (1 - self.eta**2) ** 0.5 * then
        unmeasured = guess + fresh * (state - guess) / now
        rough = guess + fresh * (y - guess) / noise.clamp(min=torch.finfo(x.dtype).tiny)
        exact = (1 - self.eta_b) * guess + self.eta_b * y
        informative = (s > 0) & (then >= noise)
        mean = torch.where(informative, exact, torch.where(s > 0, rough, unmeasured))
        narrow = (then**2 - (self.eta_b * noise) ** 2).clamp(min=0)
        variance = torch.where(informative, narrow, (self.eta * then) ** 2)
        drawn = self.operator.to_spectrum(gaussian_like(x, run.generator))
        return a_prev * self.operator.from_spectrum(mean + variance.sqrt() * drawn)
