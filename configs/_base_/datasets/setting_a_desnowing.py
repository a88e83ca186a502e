# Lu et al., arXiv 2506.21722, Setting A: trained on Snow100K, tested on RealSnow too.
_base_ = "setting_b.py"

_tasks = ["snowy"]
_restoration = dict(type="PairedDataset", task="snowy", data_root="val/snowy")
_generalization = dict(type="PairedDataset", task="snowy", data_root="generalization/RealSnow", test_set="RealSnow")

train_dataloader = dict(
    dataset=dict(datasets=[dict(type="PairedDataset", task="snowy", data_root="train/snowy", patch=128)])
)
val_dataloader = dict(dataset=dict(datasets=[_restoration]))
test_dataloader = dict(dataset=dict(datasets=[_restoration, _generalization]))
