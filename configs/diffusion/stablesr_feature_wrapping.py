# The second stage of StableSR (Wang et al., IJCV 2024): the fusions of the decoder, trained on what the network of the
# first stage samples. The autoencoder is Stable Diffusion's; published with LPIPS and a discriminator beside L1.
_base_ = "stablesr_x4.py"

model = dict(
    type="FeatureWrappingRestorer",
    trained="stablesr.pth",
    codec=dict(weights="weights/stable-diffusion/v2-1_512-ema-pruned.ckpt"),
    loss=dict(_delete_=True, type="L1Loss"),
    training_w=1.0,
)
train_dataloader = dict(batch_size=8)
optim_wrapper = dict(optimizer=dict(betas=(0.5, 0.9)))
train_cfg = dict(
    stages=[
        dict(
            name="train",
            iters=100_000,
            patch=512,
            lr=5e-5,
            schedule="constant",
            validate=True,
            trainable=["codec.decoder.fusion_layer_*"],
        )
    ],
)
