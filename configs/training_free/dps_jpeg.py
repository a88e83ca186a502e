# DPS (Chung et al., ICLR 2023): JPEG, which is not linear. The scale is for 50 steps, and goes inversely with them;
# pictures may have any size.
_base_ = "../_base_/guided/every_step.py"

operator = dict(type="JPEG", quality=10)
guidance = dict(type="DPS", scale=20.0, clip=(-1.0, 1.0))
