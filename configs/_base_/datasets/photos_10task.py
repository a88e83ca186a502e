# The photographs that come with the package, degraded on the fly; coffee and flower are held out for evaluation.
_train_files = ["astronaut.png", "chelsea.png", "china.jpg", "motorcycle_left.png", "rocket.jpg"]
_val_files = ["coffee.png", "flower.jpg"]
_tasks = [
    "motion-blurry",
    "hazy",
    "jpeg-compressed",
    "low-light",
    "noisy",
    "raindrop",
    "rainy",
    "shadowed",
    "snowy",
    "inpainting",
]

model = dict(tasks=_tasks)

train_dataloader = dict(
    batch_size=8,
    num_workers=2,
    dataset=dict(
        type="MultiTaskDataset",
        datasets=[
            dict(
                type="SyntheticDataset",
                task=task,
                data_root="asset://photos",
                files=_train_files,
                patch=64,
                recolor=0.3,
            )
            for task in _tasks
        ],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="MultiTaskDataset",
        datasets=[
            dict(type="SyntheticDataset", task=task, data_root="asset://photos", files=_val_files, max_size=320)
            for task in _tasks
        ],
    ),
)
val_cfg = dict()
val_evaluator = [dict(type="PSNR"), dict(type="SSIM"), dict(type="InputPSNR")]
test_dataloader = val_dataloader
test_cfg = dict()
test_evaluator = val_evaluator
