# Quality 5 to 30, as Palette trains, on the photographs that come with the package.
_base_ = "photos.py"

_tasks = ["jpeg-compressed"]
_source = dict(
    type="SyntheticDataset",
    task="jpeg-compressed",
    data_root="asset://photos",
    degradation="JPEGCompression",
    severity=(0.1, 0.75),
)

train_dataloader = dict(dataset=dict(datasets=[dict(**_source, files={{_base_._train_files}}, patch=64, recolor=0.3)]))
val_dataloader = dict(dataset=dict(datasets=[dict(**_source, files={{_base_._val_files}}, max_size=320)]))
test_dataloader = val_dataloader
