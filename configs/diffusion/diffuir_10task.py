# DiffUIR-L (Zheng et al., CVPR 2024) as published, in 3 steps, on the ten tasks.
_base_ = [
    "../_base_/diffusion_runtime.py",
    "../_base_/models/irsde.py",
    "../_base_/datasets/setting_b.py",
    "../_base_/schedules/bridge.py",
]

model = dict(
    tasks={{_base_._tasks}},
    backbone=dict(_delete_=True, type="UnetRes", dim=64, dim_mults=[1, 2, 4, 8]),
    scheduler=dict(_delete_=True, type="DiffUIR", timesteps=1000, delta_end=1.5e-3),
    sampler=dict(type="ResidualSampler"),
    matching="output",
    codec="centred",
    num_steps=3,
)
