# ILVR (Choi et al., ICCV 2021): super-resolution x4.
_base_ = "../_base_/guided/every_step.py"

operator = dict(type="BicubicDownsampling", factor=4)
guidance = dict(type="ILVR", clip=(-1.0, 1.0))
