# Networks of one kind of damage, tested on other sets than they were trained on (docs/benchmarks/generalisation.md): as
# method_short.py, with half of the iterations for the pre-training and half for the restoration, 400 in all.
_base_ = "method_short.py"

stages = dict(pretrain=dict(iters=200), finetune=dict(iters=200, min_lr=2e-5), train=dict(iters=200))
