# The photographs that come with the package, degraded on the fly.
_base_ = "photos.py"

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
_source = dict(type="SyntheticDataset", data_root="asset://photos")

model = dict(tasks=_tasks)

train_dataloader = dict(
    dataset=dict(
        datasets=[dict(**_source, task=task, files={{_base_._train_files}}, patch=64, recolor=0.3) for task in _tasks],
    ),
)
val_dataloader = dict(
    dataset=dict(
        datasets=[dict(**_source, task=task, files={{_base_._val_files}}, max_size=320) for task in _tasks],
    ),
)
test_dataloader = val_dataloader
