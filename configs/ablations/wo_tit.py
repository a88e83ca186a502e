# All tasks at once for as many iterations as the fine-tuning and the incremental stages have together.
_base_ = "../dtir/dtir_unet_10task.py"

train_cfg = dict(
    stages=[
        {{_base_._pretrain}},
        dict(name="finetune", iters=1_300_000, lr=5e-5, generative_share=0.1, validate=True),
    ],
)
