# All tasks in every stage. Lengths, learning rates and the estimates of the importances are those of the whole method.
_base_ = "../dtir/dtir_unet_10task.py"

train_cfg = dict(
    stages=[
        {{_base_._pretrain}},
        {{_base_._finetune}},
        *[
            dict(name=f"joint_{k:02d}", iters=100_000, lr=5e-5, generative_share=0.1, validate=True)
            for k in range(1, 11)
        ],
    ],
)
