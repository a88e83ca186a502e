# DAPS (Zhang et al., CVPR 2025): super-resolution x4 of noisy pictures, its draws in closed form. One step of the ODE
# and the spread of pictures in [-1, 1], which bounds the draws, lose less in 50 steps than the published 5 and none.
_base_ = "ddnm_plus_sr.py"

guidance = dict(_delete_=True, type="DAPS", ode_steps=1, langevin_steps=None, spread=0.5)
