# v_unipc_deraining.py's network, distilled to one step along 40 of DDIM's (consistency distillation, Song et al., ICML
# 2023): it starts as its teacher, a checkpoint of that; `--cfg-options load_from=FILE model.teacher=FILE` names it.
_base_ = "v_unipc_deraining.py"

model = dict(
    type="ConditionalConsistencyRestorer",
    intervals=40,
    sampler=dict(_delete_=True, type="DDIMSampler"),
    num_steps=1,
    loss_weight="uniform",
    spacing="trailing",
)
train_cfg = dict(stages=[dict(name="distil", iters=100_000, lr=5e-5, min_lr=1e-7, validate=True)])
