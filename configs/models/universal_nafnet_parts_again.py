# The parts of motion blur and of JPEG trained further, on damage nearer to the typical picture: three quarters of an
# hour of one core. Start it with `--cfg-options load_from=CHECKPOINT`.
_base_ = "universal_nafnet_shadows.py"

_stage = dict(iters=1_500, patch=160, lr=1e-3, min_lr=1e-6, warmup_iters=50)

model = dict(network=dict(modulation_rank=10))
train_dataloader = dict(batch_size=4, dataset=dict(datasets={{_base_._with_typical}}))
train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[
        dict(name="blur", tasks=["motion-blurry"], trainable=["network.extensions.0.*"], **_stage),
        dict(name="jpeg", tasks=["jpeg-compressed"], trainable=["network.extensions.1.*"], **_stage),
    ],
)
