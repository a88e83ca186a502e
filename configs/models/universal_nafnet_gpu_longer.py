# More on a GPU, from the base of the packaged model, in patches of 224 pixels, which show more of haze or a dark room;
# two minutes of an H200:
#   python tools/misc/unpack.py dtir/assets/models/universal.safetensors base.pth --without-parts
#   python tools/train.py configs/models/universal_nafnet_gpu_longer.py --cfg-options load_from=base.pth
# A step took 0.1 s there, for most of which the GPU seems to have waited (docs/training.md): try larger batches.
_base_ = "universal_nafnet_gpu.py"

_stage = dict(patch=224, mixing="proportional")

model = dict(network=dict(modulation_rank=10))
train_dataloader = dict(batch_size=40, prefetch_factor=3)
train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[
        dict(name="whole", iters=150, lr=1.5e-3, schedule="constant", warmup_iters=50, **_stage),
        dict(name="cooldown", iters=450, lr=1.2e-3, min_lr=1e-6, warmup_iters=50, **_stage),
    ],
)
compile = True
