# Lu et al., arXiv 2506.21722, Setting A: trained on Rain100L, tested on Rain100H too.
# Setting B's rainy pictures are Rain100H, so that the folders of restoration and generalisation change places.
_base_ = "setting_b.py"

_tasks = ["rainy"]
_restoration = dict(type="PairedDataset", task="rainy", data_root="generalization/Rain100L")
_generalization = dict(type="PairedDataset", task="rainy", data_root="val/rainy", test_set="Rain100H")

train_dataloader = dict(
    dataset=dict(datasets=[dict(type="PairedDataset", task="rainy", data_root="train/rainy-light", patch=128)])
)
val_dataloader = dict(dataset=dict(datasets=[_restoration]))
test_dataloader = dict(dataset=dict(datasets=[_restoration, _generalization]))
