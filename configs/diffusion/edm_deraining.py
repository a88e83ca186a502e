# EDM (Karras et al., NeurIPS 2022) with the degraded picture as a condition: preconditioned, on log-normal levels of
# noise in training, sampled by Heun's steps.
_base_ = [
    "../_base_/diffusion_runtime.py",
    "../_base_/models/sr3.py",
    "../_base_/datasets/deraining.py",
    "../_base_/schedules/conditional_diffusion.py",
]

model = dict(
    tasks={{_base_._tasks}},
    scheduler=dict(_delete_=True, type="EDMScheduler", num_timesteps=18),
    level=dict(_delete_=True, type="LogNormalLevel"),
    predicts="edm",
    sampler=dict(_delete_=True, type="HeunSampler"),
    num_steps=None,
)
