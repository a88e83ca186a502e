# The universal model on one data-centre GPU, in minutes (tools/analysis/gpu_check.sh): large batches of large patches
# from the start, and a cosine over the whole run.
_base_ = "universal_nafnet.py"

train_dataloader = dict(batch_size=64, num_workers=14, prefetch_factor=4)
train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[
        dict(name="whole", iters=5_000, patch=128, lr=2e-3, min_lr=1e-6, warmup_iters=200, mixing="proportional"),
    ],
)
compile = True
default_hooks = dict(checkpoint=dict(interval=250))
