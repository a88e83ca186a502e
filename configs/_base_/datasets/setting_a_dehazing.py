# Lu et al., arXiv 2506.21722, Setting A: trained on RESIDE, tested on REVIDE too.
_base_ = "setting_b.py"

_tasks = ["hazy"]
_restoration = dict(type="PairedDataset", task="hazy", data_root="val/hazy")
_generalization = dict(type="PairedDataset", task="hazy", data_root="generalization/REVIDE", test_set="REVIDE")

train_dataloader = dict(
    dataset=dict(datasets=[dict(type="PairedDataset", task="hazy", data_root="train/hazy", patch=128)])
)
val_dataloader = dict(dataset=dict(datasets=[_restoration]))
test_dataloader = dict(dataset=dict(datasets=[_restoration, _generalization]))
