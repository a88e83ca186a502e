# A conditional diffusion model in seconds: dropout of the condition, guidance, EMA, validation by sampling.
_base_ = "../../configs/diffusion/sr3_quick.py"

_source = dict(
    type="SyntheticDataset", task="super-resolution", data_root="asset://photos", degradation="BicubicDownsampling"
)

model = dict(
    backbone=dict(width=4, enc_blk_nums=[1], dec_blk_nums=[1]),
    condition_dropout=0.25,
    guidance_scale=1.5,
    num_steps=3,
)
train_dataloader = dict(
    batch_size=4, num_workers=0, dataset=dict(datasets=[dict(**_source, files=["chelsea.png"], patch=8)])
)
val_dataloader = dict(num_workers=0, dataset=dict(datasets=[dict(**_source, files=["coffee.png"], eval_crop=16)]))
train_cfg = dict(stages=[dict(name="first", iters=3, lr=1e-3), dict(name="second", iters=3, lr=1e-4)])
default_hooks = dict(logger=dict(interval=2), checkpoint=dict(interval=2))
