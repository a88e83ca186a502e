model = dict(
    type="DiffusionRestorer",
    network=dict(
        type="TimeConditioning",
        backbone=dict(
            type="XRestormer",
            dim=48,
            num_blocks=[2, 4, 4, 4],
            num_refinement_blocks=4,
            channel_heads=[1, 2, 4, 8],
            spatial_heads=[1, 2, 4, 8],
            window_size=8,
            overlap_ratio=[0.5, 0.5, 0.5, 0.5],
            spatial_dim_head=16,
        ),
    ),
    scheduler=dict(type="DDPMScheduler", num_timesteps=50),
    noise_units="image",
)
