# As IR-SDE's published training, but for its optimiser: 500 K iterations at 1e-4, here with a cosine.
train_cfg = dict(
    type="StagedTrainLoop",
    val_interval=50_000,
    stages=[dict(name="train", iters=500_000, lr=1e-4, min_lr=1e-7, validate=True)],
)
optim_wrapper = dict(type="StagedOptimWrapper", optimizer=dict(type="Adam", lr=1e-4, betas=(0.9, 0.99)))
