# DAPS (Zhang et al., CVPR 2025): overexposed pictures, with Langevin dynamics. `lr` and `tau` are as published; what is
# not clipped comes to the measurements within a few of the steps, so that 20 do in place of 100.
_base_ = "dps_hdr.py"

guidance = dict(_delete_=True, type="DAPS", ode_steps=5, langevin_steps=20, lr=2e-5, tau=0.01)
