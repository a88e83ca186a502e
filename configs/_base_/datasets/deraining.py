_base_ = "universal_10task.py"

_tasks = ["rainy"]

train_dataloader = dict(
    dataset=dict(datasets=[dict(type="PairedDataset", task="rainy", data_root="train/rainy", patch=128)])
)
val_dataloader = dict(dataset=dict(datasets=[dict(type="PairedDataset", task="rainy", data_root="val/rainy")]))
test_dataloader = val_dataloader
