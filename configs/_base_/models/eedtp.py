# As released with Lu et al., arXiv 2506.21722 (docs/method.md, section 7): 68.28 M parameters, pictures in [0, 1],
# noise up to 10/255, a fixed table of steps, and the four flips averaged in use.
_base_ = "released_steps.py"

model = dict(
    type="DiffusionRestorer",
    network=dict(
        type="OwnTime",
        backbone=dict(
            type="EEDTPRestorationNet",
            width=48,
            enc_blk_nums=[2, 2, 4, 28],
            middle_blk_num=6,
            dec_blk_nums=[2, 2, 2, 2],
        ),
    ),
    scheduler=dict(type="EEDTPScheduler", num_timesteps=50, max_sigma=10),
    noise_units="image",
    restoration_loss=dict(
        type="WeightedLosses", losses=[dict(type="L1Loss"), dict(type="FFTLoss")], weights=[1.0, 0.1]
    ),
    flip_average=True,
)
