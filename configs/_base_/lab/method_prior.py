# A prior for guidance: the generative pre-training of method.py alone, ten times as long, to a rate of nearly nothing,
# as no fine-tuning follows.
#   python -m benchmarks.method run --settings configs/_base_/lab/method_prior.py --only pretrain --seeds 1 --out OUT
_base_ = "method.py"

stages = dict(pretrain=dict(iters=30_000, min_lr=2e-5))
