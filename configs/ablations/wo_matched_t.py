# Every task at t = 0, after the same pre-training; the incremental stages take the tasks in the order of the config.
_base_ = "../dtir/dtir_unet_10task.py"

custom_hooks = [
    {{_base_._average}},
    {{_base_._forgetting}},
    {{_base_._blind_task}},
    {{_base_._experts}},
    dict(type="ReportHook"),
]
