_base_ = "universal_10task.py"

_tasks = ["snowy"]

train_dataloader = dict(
    dataset=dict(datasets=[dict(type="PairedDataset", task="snowy", data_root="train/snowy", patch=128)])
)
val_dataloader = dict(dataset=dict(datasets=[dict(type="PairedDataset", task="snowy", data_root="val/snowy")]))
test_dataloader = val_dataloader
