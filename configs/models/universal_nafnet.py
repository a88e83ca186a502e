# The universal model of the package: ten damages, real and synthetic, one small network.
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/universal_nafnet.py",
    "../_base_/datasets/universal.py",
    "../_base_/schedules/universal.py",
]

model = dict(tasks={{_base_._tasks}})
default_hooks = dict(checkpoint=dict(interval=500))
custom_hooks = [dict(type="StageEMAHook", decay=0.999), dict(type="ReportHook")]
