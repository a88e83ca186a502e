# DTIR-UNet trained the diffusion way on the ten tasks of Setting B.
_base_ = [
    "../_base_/universal_runtime.py",
    "../_base_/models/dtir_unet.py",
    "../_base_/datasets/setting_b.py",
    "../_base_/schedules/setting_b.py",
]

model = dict(tasks={{_base_._tasks}}, network=dict(adapter=dict(type="ParallelMoEAdapter")))
