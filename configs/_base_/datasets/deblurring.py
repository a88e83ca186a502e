_base_ = "universal_10task.py"

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
