# DDNM (Wang et al., ICLR 2023): super-resolution x4.
_base_ = "../_base_/guided/every_step.py"

operator = dict(type="BicubicDownsampling", factor=4)
guidance = dict(type="DDNM", eta=0.85)
