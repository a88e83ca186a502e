# Half of each of the photographs that come with the package is missing.
_base_ = "photos.py"

_tasks = ["uncropping"]
_source = dict(
    type="SyntheticDataset", task="uncropping", data_root="asset://photos", degradation="Uncropping", severity=0.5
)

train_dataloader = dict(dataset=dict(datasets=[dict(**_source, files={{_base_._train_files}}, patch=64, recolor=0.3)]))
val_dataloader = dict(dataset=dict(datasets=[dict(**_source, files={{_base_._val_files}}, max_size=320)]))
test_dataloader = val_dataloader
