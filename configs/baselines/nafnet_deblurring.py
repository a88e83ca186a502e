# NAFNet-width32 on GoPro as published (options/train/GoPro/NAFNet-width32.yml of megvii-research/NAFNet): patch 256,
# 32 samples per step (here 8 processes of 4), 200 K iterations, AdamW, PSNR loss. The published code trains the
# network with local pooling, which on patches of the training size is NAFNet.
_base_ = ["../_base_/baseline_runtime.py", "../_base_/datasets/deblurring.py"]

model = dict(
    type="SupervisedRestorer",
    tasks={{_base_._tasks}},
    backbone=dict(type="NAFNet", width=32, enc_blk_nums=[1, 1, 1, 28], middle_blk_num=1, dec_blk_nums=[1, 1, 1, 1]),
    losses=[dict(type="PSNRLoss")],
)
train_dataloader = dict(
    batch_size=4,
    dataset=dict(
        datasets=[dict(type="PairedDataset", task="motion-blurry", data_root="train/motion-blurry", patch=256)]
    ),
)
train_cfg = dict(
    type="StagedTrainLoop",
    val_interval=20_000,
    stages=[dict(name="train", iters=200_000, lr=1e-3, min_lr=1e-7, validate=True)],
)
optim_wrapper = dict(
    type="StagedOptimWrapper", optimizer=dict(type="AdamW", lr=1e-3, betas=(0.9, 0.9), weight_decay=0.0)
)
