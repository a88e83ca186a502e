# A small SR3 in about a minute on two CPU cores. The cosine schedule spends more of the few steps on little noise.
_base_ = "sr3_x4.py"

model = dict(
    backbone=dict(
        _delete_=True, type="ConditionalNAFNet", width=16, enc_blk_nums=[1, 1], middle_blk_num=1, dec_blk_nums=[1, 1]
    ),
    scheduler=dict(beta_schedule="cosine"),
    num_steps=20,
)
train_cfg = dict(val_interval=0, stages=[dict(name="train", iters=900, lr=2e-3, warmup_iters=50, min_lr=2e-5)])
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
                patch=32,
                recolor=0.3,
            )
        ],
    ),
)
custom_hooks = [dict(type="StageEMAHook", decay=0.99), dict(type="ReportHook")]
