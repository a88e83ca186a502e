# ResShift (Yue et al., NeurIPS 2023) as published for real-world super-resolution by four: 15 steps between codes of
# VQ-f4, whose weights a training reads; beside them the network sees the small picture.
_base_ = [
    "../_base_/diffusion_runtime.py",
    "../_base_/datasets/photos_super_resolution.py",
    "../_base_/schedules/bridge.py",
]

model = dict(
    type="BridgeRestorer",
    tasks={{_base_._tasks}},
    backbone=dict(
        type="UNetModelSwin",
        image_size=64,
        channel_mult=[1, 2, 2, 4],
        num_head_channels=32,
        use_scale_shift_norm=True,
        swin_embed_dim=192,
        mlp_ratio=4,
        lq_size=64,
    ),
    codec=dict(type="VQModel", n_embed=8192, embed_dim=3, weights="weights/resshift/autoencoder_vq_f4.pth"),
    condition="picture",
    scheduler=dict(type="ResShift", steps=15, min_noise_level=0.04, kappa=2.0, etas_end=0.99, latent_flag=True),
    sampler=dict(type="PosteriorSampler"),
    loss=dict(type="L2Loss"),
)
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        datasets=[
            dict(
                type="SyntheticDataset",
                task="super-resolution",
                data_root="asset://photos",
                files={{_base_._train_files}},
                degradation="BicubicDownsampling",
                severity=0.5,
                patch=256,
                recolor=0.3,
            )
        ],
    ),
)
train_cfg = dict(stages=[dict(name="train", iters=500_000, lr=5e-5, warmup_iters=5000, min_lr=2e-5, validate=True)])
