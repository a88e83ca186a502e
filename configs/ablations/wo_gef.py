# Fine-tuning on pairs alone, at the matched steps: no generative samples, no regularizers.
_base_ = "../dtir/dtir_unet_10task.py"

train_cfg = dict(
    stages=[
        {{_base_._pretrain}},
        dict(name="finetune", iters=300_000, lr=5e-5, trainable={{_base_._without_adapters}}),
        dict(name="incremental", iters=100_000, lr=5e-5, per_task=True, validate=True),
    ],
    regularizers=[{{_base_._expert_balance}}],
)
