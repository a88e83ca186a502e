# Averaged weights of any checkpoint of universal_nafnet_deep.py, taken down to the last few tenths of a dB: a training
# whose rate falls to nothing, beside which the long one can go on. Start it with `--cfg-options load_from=CHECKPOINT`.
_base_ = "universal_nafnet_deep.py"

# Larger patches, since shadows and haze are larger than small ones; as many pixels in a step.
train_dataloader = dict(batch_size=5)
train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[
        dict(name="cooldown", iters=5_000, patch=128, lr=1.2e-3, min_lr=1e-6, warmup_iters=50, mixing="proportional")
    ],
)
custom_hooks = [dict(type="StageEMAHook", decay=0.99), dict(type="ReportHook")]
