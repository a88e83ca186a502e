"""
A bridge there and back
=======================

The Schroedinger bridge of I2SB from clean to degraded and back, on "pictures" of a single pixel, where the best network
is known in closed form.
"""

import matplotlib.pyplot as plt
import torch

from dtir.diffusion.samplers import PosteriorSampler
from dtir.diffusion.schedulers import I2SB

generator = torch.Generator().manual_seed(0)

# %%
# Clean pixels are -0.7 or 0.7, equally often. The degradation forgets which: the degraded pixel is always 0.

COUNT, VALUE = 400, 0.7
clean = VALUE * (2 * torch.randint(0, 2, (COUNT, 1, 1, 1), generator=generator) - 1).float()
degraded = torch.zeros_like(clean)

# %%
# Forward: between both ends a state is a mixture of the two with noise that is largest half-way.

bridge = I2SB(interval=100, beta_max=2.0, predicts="x0")
steps = torch.arange(bridge.num_timesteps + 1)
noise = torch.randn((len(steps), *clean.shape), generator=generator)
states = torch.stack([bridge.add_noise(clean, degraded, noise[t], int(t)) for t in steps]).flatten(1)

# %%
# Reverse: the exact denoiser of a prior of two points is a tanh of the state. It is asked at each step, as a trained
# network would be.


def denoiser(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """The mean of the clean pixels that may have led to the states x."""
    a, _, sigma = bridge.marginal(t)
    return VALUE * torch.tanh(VALUE * a * x / sigma**2)


drawn = PosteriorSampler().sample(denoiser, bridge, degraded, generator=generator, return_trajectory=True)
mean = PosteriorSampler(noise=False).sample(denoiser, bridge, degraded, return_trajectory=True)
share = (drawn.sample > 0).float().mean().item()
print(f"samples near {VALUE}: {share:.0%}; without noise every sample is {mean.sample.mean().item():.2f}")

# %%
# With noise the sampler draws one of the two possible pixels; without, it goes straight to their mean, which is what a
# regression learns: grey, where the truth is black or white.

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True, layout="constrained")
axes[0].plot(steps, states[:, :60], ".", markersize=1.5, color="tab:blue")
axes[0].set(title="forward", xlabel="t", ylabel="state")
backward = torch.stack(drawn.trajectory).flatten(1)[:, :60]
axes[1].plot(steps.flip(0), backward, linewidth=0.5, color="tab:orange")
axes[1].plot(steps.flip(0), torch.stack(mean.trajectory).flatten(1)[:, 0], color="black", label="without noise")
axes[1].set(title="reverse", xlabel="t")
axes[1].invert_xaxis()
axes[1].legend()
plt.show()
