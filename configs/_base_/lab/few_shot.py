# Networks of six kinds of damage that learn further ones from few pairs (docs/benchmarks/few_shot.md): as
# method_short.py, with half as many iterations more.
_base_ = "method_short.py"

patch = 48
stages = dict(
    pretrain=dict(iters=600),
    finetune=dict(iters=360),
    incremental=dict(iters=[16] * 5 + [160]),
    train=dict(iters=600),
)
