# SR3 enlarges photographs four times.
_base_ = [
    "../_base_/diffusion_runtime.py",
    "../_base_/models/sr3.py",
    "../_base_/datasets/photos_super_resolution.py",
    "../_base_/schedules/conditional_diffusion.py",
]

model = dict(tasks={{_base_._tasks}})
