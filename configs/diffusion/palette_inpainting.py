# Palette fills missing regions of photographs.
_base_ = [
    "../_base_/diffusion_runtime.py",
    "../_base_/models/palette.py",
    "../_base_/datasets/photos_inpainting.py",
    "../_base_/schedules/conditional_diffusion.py",
]

# What is missing is white: the network is given a mask of it, and learns and fills this part alone.
model = dict(tasks={{_base_._tasks}}, backbone=dict(mask_nc=1), missing=1.0)
