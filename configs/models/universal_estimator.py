# The estimator of the universal model: which damage a picture has, or none. It trains by itself, on larger patches than
# the restorer's, as what it sees later are whole pictures; `dtir models pack --estimator` joins the two.
_base_ = ["../_base_/default_runtime.py", "../_base_/datasets/universal.py"]

model = dict(type="TaskClassifier", tasks={{_base_._tasks}}, width=24)
train_dataloader = dict(batch_size=16)
train_cfg = dict(
    type="StagedTrainLoop",
    stages=[
        dict(name="small", iters=2000, patch=112, lr=2e-3, warmup_iters=100, schedule="constant"),
        dict(name="large", iters=1600, patch=224, lr=1.5e-3, min_lr=1e-6),
    ],
)
optim_wrapper = dict(
    type="StagedOptimWrapper",
    optimizer=dict(type="AdamW", lr=2e-3, betas=(0.9, 0.99), weight_decay=1e-3, fused=True),
    clip_grad=1.0,
    amp="bf16",
)
default_hooks = dict(checkpoint=dict(interval=300))
custom_hooks = [dict(type="StageEMAHook", decay=0.99), dict(type="ClassifierCheckpointHook"), dict(type="ReportHook")]
