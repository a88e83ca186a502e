# MCG (Chung et al., NeurIPS 2022): 70 % of the pixels are missing.
_base_ = "../_base_/guided/every_step.py"

operator = dict(type="RandomInpainting", missing=0.7)
guidance = dict(type="MCG", scale=1.0, clip=(-1.0, 1.0))
