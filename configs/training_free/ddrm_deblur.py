# DDRM (Kawar et al., NeurIPS 2022): noisy pictures with Gaussian blur.
_base_ = "../_base_/guided/every_step.py"

operator = dict(type="CircularGaussianBlur", sigma=2.0, side=13)
guidance = dict(type="DDRM", eta=0.85, eta_b=1.0)
sigma_y = 0.05
