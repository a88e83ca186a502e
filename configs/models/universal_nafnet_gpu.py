# The universal model on one data-centre GPU, in minutes: twelve blocks in the middle (3.98 M parameters), large
# batches, and patches that end larger than most shadows. It goes on from the weights of universal_nafnet_cooldown.py:
#   python tools/misc/grow.py configs/models/universal_nafnet_gpu.py COOLDOWN_CHECKPOINT deep.pth
#   python tools/train.py configs/models/universal_nafnet_gpu.py --cfg-options load_from=deep.pth
# Nothing is validated in between, as a GPU is too dear for that: python -m benchmarks.weights does it afterwards.
# The weights of the package had these iterations, which took seven minutes on an H100; more of both will do them good.
_base_ = "universal_nafnet_deep.py"

_stage = dict(lr=1.5e-3, mixing="proportional")

model = dict(network=dict(backbone=dict(middle_blk_num=12)))
train_dataloader = dict(batch_size=48, num_workers=15, prefetch_factor=4)
train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[
        dict(name="whole", iters=2_500, patch=160, schedule="constant", warmup_iters=200, **_stage),
        dict(name="large", iters=95, patch=256, min_lr=1e-6, warmup_iters=50, **_stage),
    ],
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="MuonAdamW", lr=1.5e-3, betas=(0.9, 0.99), weight_decay=1e-4),
)
val_dataloader = None
val_cfg = None
val_evaluator = None
compile = dict(blocks=True)
default_hooks = dict(checkpoint=dict(interval=1000))
