# The last few tenths of a dB for weights of universal_nafnet_gpu.py, on a CPU: a rate that falls to nothing over
# half an hour of one core. Start it with `--cfg-options load_from=CHECKPOINT`.
_base_ = "universal_nafnet_gpu.py"

# The largest patches that all real pairs fill without reflection.
train_dataloader = dict(batch_size=4, num_workers=0, prefetch_factor=None)
train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[
        dict(name="cooldown", iters=1_800, patch=160, lr=3e-4, min_lr=1e-6, warmup_iters=50, mixing="proportional")
    ],
)
optim_wrapper = dict(optimizer=dict(precision="float32"))
compile = False
default_hooks = dict(checkpoint=dict(interval=250))
custom_hooks = [dict(type="StageEMAHook", decay=0.99), dict(type="ReportHook")]
