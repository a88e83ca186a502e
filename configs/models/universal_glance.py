# What the universal model's estimator sees of a picture as a whole, in a copy of 96 pixels: haze. It trains by itself;
# `dtir models pack --glance` gives it to an estimator.
_base_ = "universal_estimator.py"

model = dict(_delete_=True, type="GlanceClassifier", tasks=("clean", "hazy"), clean_above=28.0)
train_dataloader = dict(batch_size=32, dataset=dict(datasets={{_base_._of_glances}}))
train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[dict(name="glance", iters=4000, lr=2e-3, min_lr=1e-6, warmup_iters=100)],
)
optim_wrapper = dict(optimizer=dict(weight_decay=1e-2), amp=None)
val_dataloader = None
val_cfg = None
val_evaluator = None
test_dataloader = None
test_cfg = None
test_evaluator = None
custom_hooks = [dict(type="StageEMAHook", decay=0.99), dict(type="ReportHook")]
