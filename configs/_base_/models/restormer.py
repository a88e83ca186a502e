model = dict(
    type="DiffusionRestorer",
    network=dict(
        type="TimeConditioning",
        backbone=dict(type="Restormer", dim=48, num_blocks=[4, 6, 6, 8], num_refinement_blocks=4, heads=[1, 2, 4, 8]),
    ),
    scheduler=dict(type="DDPMScheduler", num_timesteps=50),
    noise_units="image",
)
