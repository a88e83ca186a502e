# The first stage of Refusion's latent dehazing (Luo et al., CVPR workshops 2023): the autoencoder, whose checkpoint is
# then the weights of the codec of refusion_latent_dehazing.py. Published with Lion; here Adam.
_base_ = [
    "../_base_/diffusion_runtime.py",
    "../_base_/datasets/setting_a_dehazing.py",
    "../_base_/schedules/bridge.py",
]

# Published without averaged weights.
custom_hooks = [dict(type="ReportHook")]
model = dict(
    type="LatentAutoencoderRestorer",
    tasks={{_base_._tasks}},
    backbone=dict(type="LatentUNet", ch=8, ch_mult=[4, 8, 8, 16], embed_dim=8),
    losses=[dict(type="L1Loss")],
    spread_weight=0.001,
)
train_dataloader = dict(
    batch_size=16,
    dataset=dict(datasets=[dict(type="PairedDataset", task="hazy", data_root="train/hazy", patch=256)]),
)
train_cfg = dict(stages=[dict(name="train", iters=300_000, lr=3e-5, min_lr=1e-7, validate=False)])
