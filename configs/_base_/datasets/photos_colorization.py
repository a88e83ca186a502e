# The photographs that come with the package in grey; random colours would teach what no photograph has.
_base_ = "photos.py"

_tasks = ["colorization"]
_source = dict(
    type="SyntheticDataset", task="colorization", data_root="asset://photos", degradation="Greyscale", severity=0.5
)

train_dataloader = dict(dataset=dict(datasets=[dict(**_source, files={{_base_._train_files}}, patch=64)]))
val_dataloader = dict(dataset=dict(datasets=[dict(**_source, files={{_base_._val_files}}, max_size=320)]))
test_dataloader = val_dataloader
