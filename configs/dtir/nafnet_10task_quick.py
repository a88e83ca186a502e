# The whole method in minutes on the photographs that come with the package: what `tools/quickstart.sh` runs.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/photos_10task.py",
]

model = dict(
    type="DiffusionRestorer",
    network=dict(
        type="TimeConditioning",
        backbone=dict(type="NAFNet", width=16, enc_blk_nums=[1, 1, 2], middle_blk_num=2, dec_blk_nums=[1, 1, 1]),
    ),
    scheduler=dict(type="DDPMScheduler", num_timesteps=50),
    noise_units="image",
    restoration_loss=dict(type="PSNRLoss", eps=1e-2),
)

train_cfg = dict(
    type="StagedTrainLoop",
    stages=[
        dict(name="pretrain", iters=500, lr=2e-3, generative_share=1.0, warmup_iters=50, min_lr=2e-4),
        dict(name="finetune", iters=1300, lr=2e-3, generative_share=0.1, warmup_iters=50, min_lr=4e-4, validate=True),
        dict(
            name="incremental",
            iters=[50, 50, 50, 50, 50, 50, 50, 50, 50, 1600],
            lr=1e-3,
            generative_share=0.1,
            min_lr=2e-5,
            per_task=True,
        ),
    ],
)
optim_wrapper = dict(type="StagedOptimWrapper", optimizer=dict(type="AdamW", lr=1e-3, betas=(0.9, 0.99)), clip_grad=1.0)
default_hooks = dict(checkpoint=dict(interval=400))
# The short pre-training matches several tasks to t = 0 or 1; steps of their own let t tell them apart, none at t = 0,
# which the pre-training does not know.
custom_hooks = [
    dict(type="StageEMAHook", decay=0.999),
    dict(type="TimestepMatchingHook", before="finetune", distinct=True, first=1),
    dict(type="ReportHook"),
]
