# The universal model with eight blocks in the middle in place of two: 2.82 M parameters, most of them at the lowest
# resolution, where they cost little. It goes on from iteration 15,644 of universal_nafnet.py:
#   python tools/misc/grow.py configs/models/universal_nafnet_deep.py iter_15644.pth deep.pth
#   python tools/train.py configs/models/universal_nafnet_deep.py --cfg-options load_from=deep.pth
_base_ = "universal_nafnet.py"

_long = dict(schedule="constant", mixing="proportional")

model = dict(network=dict(backbone=dict(middle_blk_num=8)))
train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[
        dict(name="medium", iters=15_000, patch=96, lr=1.2e-3, warmup_iters=300, **_long),
        dict(name="large", iters=110_000, patch=128, lr=1e-3, warmup_iters=100, **_long),
        dict(name="cooldown", iters=20_000, patch=128, lr=1e-3, min_lr=1e-6, mixing="proportional"),
    ],
)
