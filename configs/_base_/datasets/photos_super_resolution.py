# Four times as large: the photographs that come with the package, bicubic down and up again.
_base_ = "photos.py"

_tasks = ["super-resolution"]
_source = dict(
    type="SyntheticDataset",
    task="super-resolution",
    data_root="asset://photos",
    degradation="BicubicDownsampling",
    severity=0.5,
)

train_dataloader = dict(dataset=dict(datasets=[dict(**_source, files={{_base_._train_files}}, patch=64, recolor=0.3)]))
val_dataloader = dict(dataset=dict(datasets=[dict(**_source, files={{_base_._val_files}}, max_size=320)]))
test_dataloader = val_dataloader
