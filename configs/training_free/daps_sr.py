# DAPS (Zhang et al., CVPR 2025): super-resolution x4 of noisy pictures, its draws in closed form.
_base_ = "ddnm_plus_sr.py"

guidance = dict(_delete_=True, type="DAPS", ode_steps=5, langevin_steps=None)
