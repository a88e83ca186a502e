# DPS (Chung et al., ICLR 2023): JPEG, which is not linear. The scale is for 256 x 256 pixels and 50 steps; it goes with
# the side of the picture, and inversely with the steps.
_base_ = "../_base_/guided/every_step.py"

operator = dict(type="JPEG", quality=10)
guidance = dict(type="DPS", scale=20.0, clip=(-1.0, 1.0))
