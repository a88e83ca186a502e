# Lu et al., arXiv 2506.21722, Setting B: 500 K pre-training, 300 K fine-tuning, 100 K per incremental task.
train_cfg = dict(
    type="StagedTrainLoop",
    val_interval=50_000,
    stages=[
        dict(name="pretrain", iters=500_000, lr=5e-5, generative_share=1.0),
        dict(name="finetune", iters=300_000, lr=5e-5, generative_share=0.1),
        dict(name="incremental", iters=100_000, lr=5e-5, generative_share=0.1, per_task=True, validate=True),
    ],
)
optim_wrapper = dict(type="StagedOptimWrapper", optimizer=dict(type="Adam", lr=5e-5, betas=(0.9, 0.999)))
