# IR-SDE on heavy rain, as published.
_base_ = [
    "../_base_/diffusion_runtime.py",
    "../_base_/models/irsde.py",
    "../_base_/datasets/deraining.py",
    "../_base_/schedules/bridge.py",
]

model = dict(tasks={{_base_._tasks}})
