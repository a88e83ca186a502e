# SR3 (Saharia et al., TPAMI 2022) with the U-Net of IR-SDE: 2000 steps in training, 100 of them in sampling.
model = dict(
    type="ConditionalDiffusionRestorer",
    backbone=dict(type="ConditionalUNet", nf=64, depth=4),
    scheduler=dict(type="DDPMScheduler", num_timesteps=2000, train_timesteps=2000, beta_start=1e-6, beta_end=1e-2),
    level=dict(type="NoiseLevel"),
    loss=dict(type="L2Loss"),
    sampler=dict(type="AncestralSampler"),
    num_steps=100,
)
