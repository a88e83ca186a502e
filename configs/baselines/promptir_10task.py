# PromptIR's all-in-one recipe (train.py and options.py of va1shn9v/PromptIR): patch 128, 32 samples per step (here 4
# processes of 8), AdamW at 2e-4 with a tenth of warm-up and a cosine, L1. It is stated in epochs of its five tasks; for
# the ten here the length is that of the method's training.
_base_ = ["../_base_/baseline_runtime.py", "../_base_/datasets/setting_b.py"]

model = dict(type="SupervisedRestorer", tasks={{_base_._tasks}}, backbone=dict(type="PromptIR", decoder=True))
train_dataloader = dict(batch_size=8)
train_cfg = dict(
    type="StagedTrainLoop",
    val_interval=50_000,
    find_unused_parameters=True,
    stages=[dict(name="train", iters=1_000_000, lr=2e-4, warmup_iters=100_000, validate=True)],
)
# The published recipe decays every parameter.
optim_wrapper = dict(
    type="StagedOptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-4, weight_decay=0.01),
    paramwise_cfg=dict(bias_decay_mult=1.0, norm_decay_mult=1.0, flat_decay_mult=1.0),
)
