# X-Restormer's deraining recipe (options/train/004_xrestormer_derain.yml of Andrew0613/X-Restormer): patch 256, 32
# samples per step (here 8 processes of 4), 300 K iterations, AdamW, L1.
_base_ = ["../_base_/baseline_runtime.py", "../_base_/datasets/deraining.py"]

model = dict(
    type="SupervisedRestorer",
    tasks={{_base_._tasks}},
    backbone=dict(type="XRestormer", num_blocks=[2, 4, 4, 4], num_refinement_blocks=4),
)
train_dataloader = dict(
    batch_size=4,
    dataset=dict(datasets=[dict(type="PairedDataset", task="rainy", data_root="train/rainy", patch=256)]),
)
train_cfg = dict(
    type="StagedTrainLoop",
    val_interval=5_000,
    stages=[
        dict(name="constant", iters=92_000, lr=3e-4, schedule="constant"),
        dict(name="cosine", iters=208_000, lr=3e-4, min_lr=1e-6, validate=True),
    ],
)
# The published recipe decays every parameter.
optim_wrapper = dict(
    type="StagedOptimWrapper",
    optimizer=dict(type="AdamW", lr=3e-4, betas=(0.9, 0.99), weight_decay=0.01),
    paramwise_cfg=dict(bias_decay_mult=1.0, norm_decay_mult=1.0, flat_decay_mult=1.0),
)
