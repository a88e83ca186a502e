# RePaint (Lugmayr et al., CVPR 2022): a missing rectangle; every step is taken five times.
_base_ = "../_base_/guided/every_step.py"

operator = dict(type="BoxInpainting", share=0.4)
guidance = dict(type="RePaint", resamplings=5, clip=(-1.0, 1.0))
