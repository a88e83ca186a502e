# A small SR3 in about a minute on two CPU cores.
_base_ = "sr3_x4.py"

model = dict(
    backbone=dict(
        _delete_=True, type="ConditionalNAFNet", width=16, enc_blk_nums=[1, 1], middle_blk_num=1, dec_blk_nums=[1, 1]
    ),
    num_steps=20,
)
train_cfg = dict(
    val_interval=0, stages=[dict(name="train", iters=500, lr=2e-3, warmup_iters=50, min_lr=2e-5, validate=True)]
)

custom_hooks = [dict(type="StageEMAHook", decay=0.99), dict(type="ReportHook")]
