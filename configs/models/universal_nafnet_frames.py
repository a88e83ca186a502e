# More of the same on one core of a CPU, an hour and a half from a checkpoint of universal_nafnet_gpu_cooldown.py, with
# blur as the mean of a video's frames and drops of more kinds, which that one had not seen. Start it with
# `--cfg-options load_from=CHECKPOINT`.
_base_ = "universal_nafnet_gpu_cooldown.py"

_stage = dict(patch=160, lr=6e-4, mixing="proportional")

train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[
        dict(name="whole", iters=2_500, schedule="constant", warmup_iters=50, **_stage),
        dict(name="cooldown", iters=3_000, min_lr=1e-6, **_stage),
    ],
)
