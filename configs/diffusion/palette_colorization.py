# Palette colours grey photographs.
_base_ = [
    "../_base_/diffusion_runtime.py",
    "../_base_/models/palette.py",
    "../_base_/datasets/photos_colorization.py",
    "../_base_/schedules/conditional_diffusion.py",
]

model = dict(tasks={{_base_._tasks}})
