# Lu et al., arXiv 2506.21722, Setting A: trained on LOL-v1, tested on LOL-v2 too.
# The paper does not say which part of LOL-v2: both are tested, in a row each.
_base_ = "setting_b.py"

_tasks = ["low-light"]
_restoration = dict(type="PairedDataset", task="low-light", data_root="val/low-light")
_generalization = [
    dict(type="PairedDataset", task="low-light", data_root=f"generalization/{name}", test_set=name)
    for name in ("LOL-v2-real", "LOL-v2-synthetic")
]

train_dataloader = dict(
    dataset=dict(datasets=[dict(type="PairedDataset", task="low-light", data_root="train/low-light", patch=128)])
)
val_dataloader = dict(dataset=dict(datasets=[_restoration]))
test_dataloader = dict(dataset=dict(datasets=[_restoration, *_generalization]))
