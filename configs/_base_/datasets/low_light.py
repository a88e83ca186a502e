_base_ = "universal_10task.py"

_tasks = ["low-light"]

train_dataloader = dict(
    dataset=dict(datasets=[dict(type="PairedDataset", task="low-light", data_root="train/low-light", patch=128)])
)
val_dataloader = dict(dataset=dict(datasets=[dict(type="PairedDataset", task="low-light", data_root="val/low-light")]))
test_dataloader = val_dataloader
