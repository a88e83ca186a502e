# 1.09 M parameters, told the task by a time step of its own; "clean" is step 0, at which the picture is to stay.
model = dict(
    type="DiffusionRestorer",
    network=dict(
        type="TimeConditioning",
        backbone=dict(type="NAFNet", width=24, enc_blk_nums=[1, 1, 2], middle_blk_num=2, dec_blk_nums=[1, 1, 1]),
    ),
    scheduler=dict(type="DDPMScheduler", num_timesteps=50),
    noise_units="image",
    restoration_loss=dict(type="PSNRLoss", eps=2e-3),
    matched_t={
        "clean": 0,
        "motion-blurry": 5,
        "hazy": 10,
        "jpeg-compressed": 15,
        "low-light": 20,
        "noisy": 25,
        "raindrop": 30,
        "rainy": 35,
        "shadowed": 40,
        "snowy": 45,
        "inpainting": 50,
    },
)
