# An estimator of the universal model, trained further with drawn grounds, to see the shadows on them. Start it with
# `--cfg-options load_from=CHECKPOINT` of universal_estimator_mixtures.py.
_base_ = "universal_estimator_mixtures.py"

train_dataloader = dict(dataset=dict(datasets={{_base_._with_grounds}}))
train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[dict(name="grounds", iters=3500, patch=224, lr=1e-3, min_lr=1e-6, warmup_iters=50)],
)
