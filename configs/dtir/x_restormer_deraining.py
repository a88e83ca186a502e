# X-Restormer trained the diffusion way on light rain (Setting A).
_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/x_restormer.py",
    "../_base_/datasets/setting_a_deraining.py",
    "../_base_/schedules/setting_a.py",
]

model = dict(tasks={{_base_._tasks}})
