# Every part of a training in seconds: three tasks, all kinds of stages, EMA, clipping, matching, validation.
_base_ = "../../configs/_base_/default_runtime.py"

custom_imports = dict(imports=["dtir.testing"])

_tasks = ["noisy", "low-light", "jpeg-compressed"]
_files = ["chelsea.png", "rocket.jpg"]

model = dict(
    type="DiffusionRestorer",
    tasks=_tasks,
    network=dict(type="TimeConditioning", embed_dim=16, backbone=dict(type="TinyBackbone")),
)
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    dataset=dict(
        type="MultiTaskDataset",
        datasets=[
            dict(type="SyntheticDataset", task=task, data_root="asset://photos", files=_files, patch=16)
            for task in _tasks
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="MultiTaskDataset",
        datasets=[
            dict(type="SyntheticDataset", task=task, data_root="asset://photos", files=["coffee.png"], eval_crop=32)
            for task in _tasks
        ],
    ),
)
val_cfg = dict()
val_evaluator = [dict(type="PSNR"), dict(type="SSIM"), dict(type="InputPSNR")]
test_dataloader = val_dataloader
test_cfg = dict()
test_evaluator = val_evaluator

train_cfg = dict(
    type="StagedTrainLoop",
    val_interval=5,
    stages=[
        dict(name="pretrain", iters=4, lr=1e-3, generative_share=1.0, warmup_iters=2),
        dict(name="finetune", iters=4, lr=1e-3, generative_share=0.25, tasks=["noisy", "low-light"]),
        dict(name="incremental", iters=2, lr=1e-3, generative_share=0.1, per_task=True),
    ],
)
optim_wrapper = dict(type="StagedOptimWrapper", optimizer=dict(type="AdamW", lr=1e-3), clip_grad=1.0)
default_hooks = dict(logger=dict(interval=2), checkpoint=dict(interval=3))
custom_hooks = [
    dict(type="StageEMAHook", decay=0.9),
    dict(type="TimestepMatchingHook", before="finetune", num_images=2, batch_size=2),
    dict(type="ReportHook"),
]
