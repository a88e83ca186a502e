# DDNM+ (Wang et al., ICLR 2023, section 3.3): super-resolution x4 of noisy pictures.
_base_ = "ddnm_sr.py"

operator = dict(_delete_=True, type="AverageDownsampling", factor=4)
sigma_y = 0.1
