# Lu et al., arXiv 2506.21722, Setting A, one task: 500 K pre-training, 300 K regularised fine-tuning.
_importance = dict(type="ParameterImportance", weight=0.2)
_orthogonality = dict(type="OrthogonalProjection")
_layer_decay = dict(type="LayerDecay")

train_cfg = dict(
    type="StagedTrainLoop",
    val_interval=50_000,
    stages=[
        dict(name="pretrain", iters=500_000, lr=5e-5, generative_share=1.0),
        dict(name="finetune", iters=300_000, lr=5e-5, generative_share=0.1, validate=True),
    ],
    regularizers=[_importance, _layer_decay, _orthogonality],
)
optim_wrapper = dict(type="StagedOptimWrapper", optimizer=dict(type="Adam", lr=5e-5, betas=(0.9, 0.999)))
