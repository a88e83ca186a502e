# StableSR (Wang et al., IJCV 2024) on Stable Diffusion 2.1: the time-aware encoder and what it steers are trained, the
# rest is frozen. Weights of the autoencoder are read; those of Stable Diffusion come by load_from (docs/latent.md).
_base_ = [
    "../_base_/diffusion_runtime.py",
    "../_base_/datasets/photos_super_resolution.py",
    "../_base_/schedules/conditional_diffusion.py",
]

model = dict(
    type="ConditionalDiffusionRestorer",
    tasks={{_base_._tasks}},
    backbone=dict(type="StableSR"),
    codec=dict(
        type="AutoencoderKLResi", fusion_w=0.5, colour_fix="adain", weights="weights/stablesr/vqgan_cfw_00011.ckpt"
    ),
    scheduler=dict(
        type="DDPMScheduler",
        num_timesteps=1000,
        train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
    ),
    level=dict(type="TimestepLevel", offset=-1),
    predicts="eps",
    loss=dict(type="L2Loss"),
    sampler=dict(type="AncestralSampler"),
    num_steps=200,
    spacing="linspace",
    start="degraded",
    tile=512,
    tile_overlap=256,
    tile_blend="gaussian",
)
train_dataloader = dict(
    batch_size=6,
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
train_cfg = dict(
    stages=[
        dict(
            name="train",
            iters=800_000,
            lr=5e-5,
            schedule="constant",
            validate=True,
            trainable=["backbone.structcond_stage_model.*", "*.spade.*"],
        )
    ],
)
