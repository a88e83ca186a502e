# Ten times as many steps as method_short.py of a network of 1.5 M parameters: most of an hour of one CPU core for a
# training. Only "told, equal total steps" and "brief" are meant to be run at this length.
_base_ = "method.py"

backbone = dict(width=24)
test_crop = 192
stages = dict(
    pretrain=dict(iters=4000),
    primer=dict(iters=1500),
    train=dict(iters=4000),
)
estimator = dict(iters=3000, patch=96)
