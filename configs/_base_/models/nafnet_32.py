model = dict(
    type="DiffusionRestorer",
    network=dict(
        type="TimeConditioning",
        backbone=dict(
            type="NAFNet",
            width=32,
            enc_blk_nums=[2, 2, 4, 8],
            middle_blk_num=12,
            dec_blk_nums=[2, 2, 2, 2],
        ),
    ),
    scheduler=dict(type="DDPMScheduler", num_timesteps=50),
    noise_units="image",
)
