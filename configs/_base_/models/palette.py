# Palette (Saharia et al., SIGGRAPH 2022) with the U-Net of IR-SDE: sampled on another schedule than it is trained on.
_base_ = "sr3.py"

model = dict(
    sampling_scheduler=dict(
        type="DDPMScheduler", num_timesteps=1000, train_timesteps=1000, beta_start=1e-4, beta_end=0.09
    ),
    num_steps=1000,
)
