# The same, distilled to one step (consistency distillation, Song et al., ICML 2023): the network starts as its teacher,
# a checkpoint of v_unipc_deraining.py; `--cfg-options load_from=FILE model.teacher=FILE` names it.
_base_ = "v_unipc_deraining.py"

model = dict(
    type="ConditionalConsistencyRestorer", intervals=40, sampler=dict(_delete_=True, type="DDIMSampler"), num_steps=1
)
train_cfg = dict(stages=[dict(name="distil", iters=100_000, lr=5e-5, min_lr=1e-7, validate=True)])
