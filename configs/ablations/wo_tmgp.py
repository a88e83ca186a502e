# No generative pre-training, so no steps to match and no parameters of an earlier task to hold.
_base_ = "../dtir/dtir_unet_10task.py"

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
