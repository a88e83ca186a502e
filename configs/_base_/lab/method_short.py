# A third of the steps on smaller patches, measured on the centres of the test pictures: minutes for a training.
_base_ = "method.py"

patch = 48
test_crop = 256
stages = dict(
    pretrain=dict(iters=500),
    finetune=dict(iters=300),
    incremental=dict(iters=[10] * 9 + [110]),
    train=dict(iters=500),
)
