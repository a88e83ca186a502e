# The estimator of the universal model, trained further to share its belief between two damages. Start it with
# `--cfg-options load_from=CHECKPOINT` of universal_estimator_longer.py.
_base_ = "universal_estimator_longer.py"

train_dataloader = dict(dataset=dict(datasets={{_base_._with_mixtures}}, tell_damages=True))
train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[dict(name="mixtures", iters=3600, patch=224, lr=7e-4, min_lr=1e-6, warmup_iters=50)],
)
