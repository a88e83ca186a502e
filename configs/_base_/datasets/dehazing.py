_base_ = "universal_10task.py"

_tasks = ["hazy"]

train_dataloader = dict(
    dataset=dict(datasets=[dict(type="PairedDataset", task="hazy", data_root="train/hazy", patch=128)])
)
val_dataloader = dict(dataset=dict(datasets=[dict(type="PairedDataset", task="hazy", data_root="val/hazy")]))
test_dataloader = val_dataloader
