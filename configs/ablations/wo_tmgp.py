# No generative pre-training, so no parameters of an earlier task to hold, and nothing to match steps with: they are the
# released ones, so that the order of the tasks, layer decay and routing act as in the whole method.
_base_ = ["../dtir/dtir_unet_10task.py", "../_base_/models/released_steps.py"]

model = dict(matched_t={{_base_._matched_t}})

train_cfg = dict(
    stages=[{{_base_._finetune}}, {{_base_._incremental}}],
    regularizers=[{{_base_._layer_decay}}, {{_base_._orthogonality}}, {{_base_._expert_balance}}],
)
custom_hooks = [
    {{_base_._average}},
    {{_base_._forgetting}},
    {{_base_._blind_task}},
    {{_base_._experts}},
    dict(type="ReportHook"),
]
