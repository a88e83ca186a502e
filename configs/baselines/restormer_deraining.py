# Restormer's deraining recipe (Zamir et al., CVPR 2022, section 4): 300 K iterations, AdamW, L1, the first 92 K at
# 3e-4 and the rest on a cosine to 1e-6. The published patches grow from 128 (64 samples per step) to 384 (8); this
# keeps the first setting, 8 processes of 8.
_base_ = ["../_base_/baseline_runtime.py", "../_base_/datasets/deraining.py"]

model = dict(type="SupervisedRestorer", tasks={{_base_._tasks}}, backbone=dict(type="Restormer"))
train_dataloader = dict(batch_size=8)
train_cfg = dict(
    type="StagedTrainLoop",
    val_interval=4_000,
    stages=[
        dict(name="constant", iters=92_000, lr=3e-4, schedule="constant"),
        dict(name="cosine", iters=208_000, lr=3e-4, min_lr=1e-6, validate=True),
    ],
)
# The published recipe decays every parameter.
optim_wrapper = dict(
    type="StagedOptimWrapper",
    optimizer=dict(type="AdamW", lr=3e-4, betas=(0.9, 0.999), weight_decay=1e-4),
    paramwise_cfg=dict(bias_decay_mult=1.0, norm_decay_mult=1.0, flat_decay_mult=1.0),
    clip_grad=0.01,
)
