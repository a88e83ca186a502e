# More of universal_nafnet_gpu_longer.py on one core of a CPU, three quarters of an hour from one of its checkpoints,
# with a rate that falls to nothing. Start it with `--cfg-options load_from=CHECKPOINT`. Parts of tasks' own that the
# network had before are put back on it:
#   python -m tools.misc.graft CHECKPOINT dtir/assets/models/universal.safetensors OUT
_base_ = "universal_nafnet_gpu_longer.py"

train_dataloader = dict(batch_size=3, num_workers=0, prefetch_factor=None)
train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[dict(name="whole", iters=2_600, patch=224, lr=6e-4, min_lr=1e-6, warmup_iters=50, mixing="proportional")],
)
optim_wrapper = dict(optimizer=dict(precision="float32"))
default_hooks = dict(checkpoint=dict(interval=200))
custom_hooks = [dict(type="StageEMAHook", decay=0.99), dict(type="ReportHook")]
