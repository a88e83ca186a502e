# An unconditional denoiser for training-free guidance: the generative objective alone, T = 50, on clean pictures (here
# the photographs that come with the package; data_root of the task below is where to put others).
_base_ = ["../_base_/default_runtime.py", "../_base_/datasets/photos_10task.py"]

# The objective sees clean pictures only. The task is for validation: noise, removed in one step at its matched t.
_tasks = ["noisy"]
_train_files = ["astronaut.png", "chelsea.png", "china.jpg", "motorcycle_left.png", "rocket.jpg"]
_val_files = ["coffee.png", "flower.jpg"]

model = dict(
    type="DiffusionRestorer",
    tasks=_tasks,
    network=dict(
        type="TimeConditioning",
        backbone=dict(type="NAFNet", width=16, enc_blk_nums=[1, 1, 2], middle_blk_num=2, dec_blk_nums=[1, 1, 1]),
    ),
    scheduler=dict(type="DDPMScheduler", num_timesteps=50),
)
train_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(
                type="SyntheticDataset",
                task="noisy",
                data_root="asset://photos",
                files=_train_files,
                patch=64,
                recolor=0.3,
            )
        ]
    )
)
val_dataloader = dict(
    dataset=dict(
        datasets=[
            dict(type="SyntheticDataset", task="noisy", data_root="asset://photos", files=_val_files, max_size=320)
        ]
    )
)
test_dataloader = val_dataloader
train_cfg = dict(
    type="StagedTrainLoop",
    stages=[
        dict(name="pretrain", iters=15_000, lr=1e-3, generative_share=1.0, schedule="constant", warmup_iters=100),
        dict(name="decay", iters=5_000, lr=1e-3, generative_share=1.0, validate=True),
    ],
)
optim_wrapper = dict(type="StagedOptimWrapper", optimizer=dict(type="AdamW", lr=1e-3, betas=(0.9, 0.99)), clip_grad=1.0)
custom_hooks = [
    dict(type="StageEMAHook", decay=0.999),
    dict(type="TimestepMatchingHook", before="decay"),
    dict(type="ReportHook"),
]
