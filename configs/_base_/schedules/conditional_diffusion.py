# SR3 and Palette: 1 M steps at a constant learning rate after a warm-up.
train_cfg = dict(
    type="StagedTrainLoop",
    val_interval=50_000,
    stages=[dict(name="train", iters=1_000_000, lr=1e-4, schedule="constant", warmup_iters=10_000, validate=True)],
)
optim_wrapper = dict(type="StagedOptimWrapper", optimizer=dict(type="Adam", lr=1e-4))
