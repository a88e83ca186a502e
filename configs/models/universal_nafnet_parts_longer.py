# The parts of JPEG trained further, on larger patches: three quarters of an hour of one core. Start it with
# `--cfg-options load_from=CHECKPOINT`.
_base_ = "universal_nafnet_parts_again.py"

train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[
        dict(
            name="jpeg",
            iters=1_800,
            patch=192,
            lr=1e-3,
            min_lr=1e-6,
            warmup_iters=50,
            tasks=["jpeg-compressed"],
            trainable=["network.extensions.1.*"],
        )
    ],
)
