# As released: 100 K pre-training, then one task for 500 K or ten of 100 K each, every stage with an optimiser and a
# cosine of its own. The generative terms are taken by a tenth of the steps.
_rate = dict(lr=5e-5, min_lr=1e-7)
_importance = dict(type="ReleasedImportance", weight=0.2)
_orthogonality = dict(type="ReleasedOrthogonality")
_pretrain = dict(name="pretrain", iters=100_000, generative_share=1.0, **_rate)

train_cfg = dict(
    type="StagedTrainLoop",
    val_interval=50_000,
    stages=[_pretrain, dict(name="finetune", iters=500_000, validate=True, **_rate)],
    regularizers=[_orthogonality, _importance],
)
optim_wrapper = dict(type="StagedOptimWrapper", optimizer=dict(type="Adam", lr=5e-5, betas=(0.9, 0.99)))
