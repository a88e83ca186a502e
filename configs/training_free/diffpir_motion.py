# DiffPIR (Zhu et al., CVPR Workshops 2023): noisy pictures with motion blur. The published lambda of 1 is 0.25 here,
# where the measurements' noise is that of pictures in [-1, 1].
_base_ = "pigdm_motion.py"

guidance = dict(_delete_=True, type="DiffPIR", lambda_=0.25, zeta=0.1)
