"""Guidance that alternates between the denoiser and a proximal step towards the measurements."""

import torch
from torch import Tensor
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.guidance.base import GuidedSampler, misfit_gradient, x0_variance
from dtir.diffusion.operators import Operator, SpectralOperator
from dtir.diffusion.samplers.base import Run, gaussian_like
from dtir.registry import GUIDANCE


@GUIDANCE.register_module()
class DiffPIR(GuidedSampler):
    """Denoising diffusion for plug-and-play restoration (Zhu et al., CVPR Workshops 2023).

    The predicted x_0 gives way to `argmin_x |y - A(x)|^2 + rho_t |x - x_0|^2`, its equation 13, with
    `rho_t = lambda sigma_y^2 / (sigma_t / a_t)^2`; the noise that goes with it is kept to the share `sqrt(1 - zeta)`.

    For a `SpectralOperator` the minimum is in closed form; for other operators, linear or not, it is approached by
    gradient steps of length `1 / (curvature + rho_t)` from x_0. The published first-order step has
    `gradient_steps=1, curvature=0`, and is unstable where rho_t is small.

    With independent Gaussian pixels of variance s^2 and zeta 0, samples are of the posterior as the steps get many, up
    to a bias that falls with `sigma_y^2 / s^2`, since rho_t takes the data to be without bound; without noise there is
    none. A larger zeta narrows the samples, to the mean at 1.

    Args:
        operator: A.
        y: Measurements.
        sigma_y: Standard deviation of their noise. 0 keeps what is measured exactly, in closed form.
        lambda_: Weight of the denoiser, for pictures in [-1, 1]. The published code has sigma_y of pictures in [0, 1]
            beside sigma_t of those in [-1, 1], so that its lambda is 4 times this one.
        zeta: Share of the noise's variance that is drawn anew in every step, 0 to 1.
        gradient_steps: Gradient steps where there is no closed form.
        curvature: Upper bound of the squared singular values of A, or of its Jacobian, for these steps.

    Raises:
        ConfigError: A value is out of its range.
    """

    needs = Operator

    def __init__(
        self,
        operator: Operator,
        y: Tensor,
        sigma_y: float = 0.0,
        lambda_: float = 1.0,
        zeta: float = 0.1,
        gradient_steps: int = 10,
        curvature: float = 1.0,
    ) -> None:
        super().__init__(operator, y, sigma_y)
        if lambda_ <= 0:
            raise ConfigError(f"DiffPIR: lambda_={lambda_} must be above 0.")
        if not 0 <= zeta <= 1:
            raise ConfigError(f"DiffPIR: zeta={zeta} must lie in 0..1.")
        if gradient_steps < 1 or curvature < 0 or curvature == sigma_y == 0:
            raise ConfigError(
                f"DiffPIR: gradient_steps={gradient_steps} must be at least 1, and curvature={curvature} not negative, "
                "and above 0 for measurements without noise."
            )
        self.lambda_, self.zeta = lambda_, zeta
        self.gradient_steps, self.curvature = gradient_steps, curvature

    @override
    def advance(self, run: Run, x: Tensor, t: int, t_prev: int) -> Tensor:
        rho = self.lambda_ * self.sigma_y**2 / x0_variance(run.scheduler, t, spread=None)
        x0 = self.proximal(run.scheduler.x0_from_eps(x, run.eps(x, t), t), rho)
        a_prev, sigma_prev = run.scheduler.marginal(t_prev)
        eps = run.scheduler.eps_from_x0(x, x0, t)
        if t_prev > 0:
            eps = (1 - self.zeta) ** 0.5 * eps + self.zeta**0.5 * gaussian_like(x, run.generator)
        return a_prev * x0 + sigma_prev * eps

    def proximal(self, x0: Tensor, rho: Tensor) -> Tensor:
        """The pictures nearest to both the measurements and x0, `argmin_x |y - A(x)|^2 + rho |x - x0|^2`.

        Args:
            x0: (B, C, H, W).
            rho: Weight of the distance to x0, (1, 1, 1, 1); 0 projects.

        Returns:
            (B, C, H, W).
        """
        if isinstance(self.operator, SpectralOperator):
            s = self.operator.singular_values(x0)
            missing = self.operator.measured_spectrum(self.y - self.operator.A(x0))
            gain = torch.where(s > 0, s / (s**2 + rho).where(s > 0, 1.0), 0.0)
            return x0 + self.operator.from_spectrum(gain * missing)
        x = x0
        for _ in range(self.gradient_steps):
            gradient = misfit_gradient(self.operator.A, x, self.y) + rho * (x - x0)
            x = x - gradient / (self.curvature + rho)
        return x
