# The parts of shadows trained further, on larger patches: an hour of one core. Start it with
# `--cfg-options load_from=CHECKPOINT`.
_base_ = "universal_nafnet_shadows_again.py"

train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[
        dict(
            name="shadows",
            iters=3_200,
            patch=256,
            lr=1e-3,
            min_lr=1e-6,
            warmup_iters=50,
            tasks=["shadowed"],
            trainable=["network.extensions.3.*"],
        )
    ],
)
