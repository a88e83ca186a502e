# ResShift (Yue et al., NeurIPS 2023) in 15 steps on pictures, in place of latents, with the published network.
_base_ = "irsde_deraining.py"

model = dict(
    backbone=dict(
        _delete_=True,
        type="UNetModelSwin",
        channel_mult=[1, 2, 2, 4],
        num_head_channels=32,
        use_scale_shift_norm=True,
        swin_embed_dim=192,
        mlp_ratio=4,
        lq_size=64,
    ),
    scheduler=dict(_delete_=True, type="ResShift", steps=15, min_noise_level=0.04, kappa=2.0, latent_flag=False),
    sampler=dict(type="PosteriorSampler", clip=(-1.0, 1.0)),
    loss=dict(type="L2Loss"),
    matching="output",
    codec="centred",
)
