# Without adapters and what belongs to them.
_base_ = "../dtir/dtir_unet_10task.py"

model = dict(network=dict(adapter=None))
optim_wrapper = dict(paramwise_cfg=None)
train_cfg = dict(
    regularizers=[{{_base_._importance}}, {{_base_._layer_decay}}, {{_base_._orthogonality}}],
)
custom_hooks = [
    {{_base_._average}},
    {{_base_._matching}},
    {{_base_._forgetting}},
    {{_base_._blind_task}},
    dict(type="ReportHook"),
]
