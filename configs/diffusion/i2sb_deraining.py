# I2SB (Liu et al., ICML 2023) with its published process; the network is IR-SDE's, not the guided-diffusion U-Net.
_base_ = "irsde_deraining.py"

model = dict(
    scheduler=dict(_delete_=True, type="I2SB", interval=1000, beta_max=0.3),
    sampler=dict(type="PosteriorSampler"),
    loss=dict(type="L2Loss"),
    matching="output",
    codec="centred",
    num_steps=100,
)
