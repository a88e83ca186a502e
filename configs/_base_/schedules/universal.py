# Patches that grow, as early steps learn as much from small ones at a quarter of the cost. The long stages have a
# constant rate, so that their averaged weights can be taken at any time; a cool-down at the end, or from any checkpoint
# of them (configs/models/universal_nafnet_cooldown.py), brings the last few tenths of a dB.
_long = dict(warmup_iters=100, schedule="constant", mixing="proportional")

train_cfg = dict(
    type="StagedTrainLoop",
    stages=[
        dict(name="small", iters=8_000, patch=64, lr=1.5e-3, **{**_long, "warmup_iters": 300}),
        dict(name="medium", iters=22_000, patch=96, lr=1.2e-3, **_long),
        dict(name="large", iters=110_000, patch=128, lr=1e-3, **_long),
        dict(name="cooldown", iters=20_000, patch=128, lr=1e-3, min_lr=1e-6, mixing="proportional"),
    ],
)
optim_wrapper = dict(
    type="StagedOptimWrapper",
    optimizer=dict(type="AdamW", lr=1.5e-3, betas=(0.9, 0.99), weight_decay=1e-4, fused=True),
    # Every parameter decays alike: one group, as in the checkpoints that the training goes on from.
    paramwise_cfg=dict(bias_decay_mult=1.0, norm_decay_mult=1.0, flat_decay_mult=1.0, modulation_decay_mult=1.0),
    clip_grad=1.0,
    amp="bf16",
)
