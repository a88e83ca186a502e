# Deraining with what has become usual since SR3: the network predicts v (Salimans and Ho, ICLR 2022), weighed by the
# bounded signal-to-noise ratio (Hang et al., ICCV 2023), and is sampled by ten of UniPC's steps (Zhao et al., NeurIPS
# 2023) at levels that are spaced as EDM's.
_base_ = [
    "../_base_/diffusion_runtime.py",
    "../_base_/models/sr3.py",
    "../_base_/datasets/deraining.py",
    "../_base_/schedules/conditional_diffusion.py",
]

model = dict(
    tasks={{_base_._tasks}},
    scheduler=dict(_delete_=True, type="DDPMScheduler", num_timesteps=1000, train_timesteps=1000),
    level=dict(_delete_=True, type="TimestepLevel"),
    predicts="v",
    loss_weight="min_snr",
    sampler=dict(_delete_=True, type="UniPCSampler"),
    spacing="karras",
    num_steps=10,
)
