# The same with NAFNet of width 32 on patches of 128 pixels, for larger sets of clean pictures.
_base_ = ["ddpm_photos.py"]

model = dict(
    network=dict(backbone=dict(width=32, enc_blk_nums=[2, 2, 4, 8], middle_blk_num=12, dec_blk_nums=[2, 2, 2, 2])),
)
train_dataloader = dict(
    batch_size=16,
    dataset=dict(
        datasets=[dict(type="SyntheticDataset", task="noisy", data_root="train/clean", patch=128)],
    ),
)
train_cfg = dict(
    val_interval=50_000,
    stages=[
        dict(name="pretrain", iters=400_000, lr=1e-4, generative_share=1.0, schedule="constant", warmup_iters=1000),
        dict(name="decay", iters=100_000, lr=1e-4, generative_share=1.0, validate=True),
    ],
)
default_hooks = dict(checkpoint=dict(interval=10_000))
