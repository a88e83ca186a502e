# ResShift distilled to one step (consistency distillation, Song et al., ICML 2023): the network starts as its teacher,
# a checkpoint of resshift_deraining.py; `--cfg-options load_from=FILE model.teacher=FILE` names it.
_base_ = "resshift_deraining.py"

model = dict(type="ConsistencyRestorer", sampler=dict(_delete_=True, type="ConsistencySampler"), num_steps=1)
train_cfg = dict(stages=[dict(name="distil", iters=100_000, lr=5e-5, min_lr=1e-7, validate=True)])
