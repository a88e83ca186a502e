# Every task at t = 0, after the same pre-training; the incremental stages take the tasks in the order of the config.
_base_ = "../dtir/dtir_unet_10task.py"

custom_hooks = [dict(type="StageEMAHook", decay=0.999), dict(type="ReportHook")]
