# GoPro, which published deblurring recipes train and test on.
_base_ = "setting_b.py"

_tasks = ["motion-blurry"]

train_dataloader = dict(
    dataset=dict(
        datasets=[dict(type="PairedDataset", task="motion-blurry", data_root="train/motion-blurry", patch=128)]
    )
)
val_dataloader = dict(
    dataset=dict(datasets=[dict(type="PairedDataset", task="motion-blurry", data_root="val/motion-blurry")])
)
test_dataloader = val_dataloader
test_evaluator = {{_base_.val_evaluator}}
