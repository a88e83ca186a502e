# DPS (Chung et al., ICLR 2023): overexposed pictures.
_base_ = "dps_jpeg.py"

operator = dict(_delete_=True, type="HDR", scale=2.0)
guidance = dict(scale=25.0)
