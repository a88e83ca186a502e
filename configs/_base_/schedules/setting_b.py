# Lu et al., arXiv 2506.21722, Setting B: 500 K pre-training, 300 K regularised fine-tuning, 100 K per incremental task,
# in which the adapters join in.
_importance = dict(type="ParameterImportance", weight=0.2)
_orthogonality = dict(type="OrthogonalProjection")
_layer_decay = dict(type="LayerDecay")
_expert_balance = dict(type="ExpertBalance")
_without_adapters = ["network.backbone.*", "network.embedding.*", "network.to_modulation.*"]

_pretrain = dict(name="pretrain", iters=500_000, lr=5e-5, generative_share=1.0, trainable=_without_adapters)
_finetune = dict(name="finetune", iters=300_000, lr=5e-5, generative_share=0.1, trainable=_without_adapters)
_incremental = dict(name="incremental", iters=100_000, lr=5e-5, generative_share=0.1, per_task=True, validate=True)

train_cfg = dict(
    type="StagedTrainLoop",
    val_interval=50_000,
    stages=[_pretrain, _finetune, _incremental],
    regularizers=[_importance, _layer_decay, _orthogonality, _expert_balance],
)
# Adapters start at zero when the rest is trained already: at its rate they would end as they began. Ours.
optim_wrapper = dict(
    type="StagedOptimWrapper",
    optimizer=dict(type="Adam", lr=5e-5, betas=(0.9, 0.999)),
    paramwise_cfg=dict(custom_keys=dict(adapters=dict(lr_mult=10.0, decay_mult=0.0))),
)
