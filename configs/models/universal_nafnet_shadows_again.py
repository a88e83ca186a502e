# The parts of shadows fitted to a network that was trained further without them, twelve minutes of one core from a
# checkpoint that tools/misc/graft.py wrote. Start it with `--cfg-options load_from=CHECKPOINT`.
_base_ = "universal_nafnet_shadows.py"

model = dict(network=dict(modulation_rank=10))
train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[
        dict(
            name="shadows",
            iters=700,
            patch=224,
            lr=1e-3,
            min_lr=1e-6,
            warmup_iters=50,
            tasks=["shadowed"],
            trainable=["network.extensions.3.*"],
        )
    ],
)
