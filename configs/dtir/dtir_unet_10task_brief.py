# The part of the paradigm that pays in docs/benchmarks/method.md: a generative pre-training of a fifth of the
# iterations, then plain training that is told the task by a time step of its own. No matching, no regularizers, no
# order of the tasks, no adapters.
_base_ = "../baselines/dtir_unet_told_10task.py"

train_cfg = dict(
    stages=[
        dict(name="primer", iters=250_000, lr=5e-5, generative_share=1.0),
        dict(name="train", iters=1_050_000, lr=5e-5, validate=True),
    ],
)
