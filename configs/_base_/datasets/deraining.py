# Rain100H, which published deraining recipes train and test on.
_base_ = "setting_b.py"

_tasks = ["rainy"]

train_dataloader = dict(
    dataset=dict(datasets=[dict(type="PairedDataset", task="rainy", data_root="train/rainy", patch=128)])
)
val_dataloader = dict(dataset=dict(datasets=[dict(type="PairedDataset", task="rainy", data_root="val/rainy")]))
test_dataloader = val_dataloader
test_evaluator = {{_base_.val_evaluator}}
