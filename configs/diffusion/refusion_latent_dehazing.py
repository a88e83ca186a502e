# Refusion's latent dehazing (Luo et al., CVPR workshops 2023): IR-SDE between codes of its U-Net, whose weights a
# training reads. Published with Lion; here Adam.
_base_ = [
    "../_base_/diffusion_runtime.py",
    "../_base_/datasets/setting_a_dehazing.py",
    "../_base_/schedules/bridge.py",
]

model = dict(
    type="BridgeRestorer",
    tasks={{_base_._tasks}},
    backbone=dict(
        type="LatentConditionalNAFNet",
        img_channel=8,
        width=64,
        enc_blk_nums=[1, 1, 1, 28],
        middle_blk_num=1,
        dec_blk_nums=[1, 1, 1, 1],
    ),
    codec=dict(
        type="LatentUNet", ch=8, ch_mult=[4, 8, 8, 16], embed_dim=8, weights="weights/refusion/latent-dehazing.pth"
    ),
    scheduler=dict(type="IRSDE", max_sigma=50, T=100, schedule="cosine", eps=0.005),
    sampler=dict(type="ReverseSDESampler"),
    matching="step",
)
train_dataloader = dict(
    batch_size=8,
    dataset=dict(datasets=[dict(type="PairedDataset", task="hazy", data_root="train/hazy", patch=256)]),
)
train_cfg = dict(stages=[dict(name="train", iters=400_000, lr=3e-5, min_lr=1e-7, validate=True)])
