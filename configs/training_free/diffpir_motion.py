# DiffPIR (Zhu et al., CVPR Workshops 2023): noisy pictures with motion blur. The published code's lambda is 4 times
# that of its equation, which counts here.
_base_ = "pigdm_motion.py"

guidance = dict(_delete_=True, type="DiffPIR", lambda_=1.0, zeta=0.5)
