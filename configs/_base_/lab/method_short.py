# Fewer steps of a network of half the widths on smaller patches, measured on the centres of the test pictures: a few
# minutes of one CPU core for a training.
_base_ = "method.py"

backbone = dict(width=8)
released_backbone = dict(width=8)
adapter_rank = 2
patch = 40
test_crop = 192
stages = dict(
    pretrain=dict(iters=400),
    primer=dict(iters=150),
    finetune=dict(iters=240),
    incremental=dict(iters=[10] * 9 + [70]),
    train=dict(iters=400),
)
estimator = dict(iters=3000, patch=96)
