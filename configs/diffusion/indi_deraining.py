# InDI (Delbracio and Milanfar, TMLR 2023).
_base_ = "irsde_deraining.py"

model = dict(
    scheduler=dict(_delete_=True, type="InDI", num_timesteps=100, noise=0.01, continuous=True),
    sampler=dict(type="PosteriorSampler", noise=False),
    matching="output",
    codec="centred",
    time_scale=1000,
    num_steps=20,
)
