model = dict(
    type="DiffusionRestorer",
    network=dict(type="TimeConditioning", backbone=dict(type="PromptIR", decoder=True)),
    scheduler=dict(type="DDPMScheduler", num_timesteps=50),
    noise_units="image",
)
