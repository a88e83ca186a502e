# Rectified flow from the degraded picture with a little noise to the clean one; Heun's steps.
_base_ = "irsde_deraining.py"

model = dict(
    scheduler=dict(_delete_=True, type="RectifiedFlow", num_timesteps=100, noise=0.1, continuous=True),
    sampler=dict(type="FlowHeunSampler"),
    loss=dict(type="L2Loss"),
    matching="output",
    codec="centred",
    time_scale=1000,
    num_steps=10,
)
