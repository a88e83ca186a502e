# DAPS (Zhang et al., CVPR 2025): overexposed pictures, with Langevin dynamics.
_base_ = "dps_hdr.py"

guidance = dict(_delete_=True, type="DAPS", ode_steps=5, langevin_steps=100, lr=2e-5, tau=0.01)
