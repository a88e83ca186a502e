# Cold diffusion (Bansal et al., NeurIPS 2023) with the degraded picture as the end of the fading.
_base_ = "irsde_deraining.py"

model = dict(
    scheduler=dict(_delete_=True, type="ColdDiffusion", num_timesteps=100),
    sampler=dict(type="ColdSampler"),
    matching="output",
    time_scale=1000,
    num_steps=20,
)
