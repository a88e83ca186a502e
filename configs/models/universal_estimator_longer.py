# The estimator of the universal model, trained further on crops of 224 pixels. Start it with
# `--cfg-options load_from=CHECKPOINT` of universal_estimator.py.
_base_ = "universal_estimator.py"

train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[dict(name="longer", iters=4000, patch=224, lr=1.5e-3, min_lr=1e-6, warmup_iters=100)],
)
