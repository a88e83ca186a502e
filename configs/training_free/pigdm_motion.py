# PiGDM (Song et al., ICLR 2023): noisy pictures with motion blur.
_base_ = "../_base_/guided/every_step.py"

operator = dict(type="CircularMotionBlur", length=11, angle=30)
guidance = dict(type="PiGDM", eta=1.0, spread=0.5, damping=2.0)
sigma_y = 0.05
