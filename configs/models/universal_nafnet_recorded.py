# More of universal_nafnet_large.py with haze by the depth of rendered pairs, pairs of haze and rain that keep their
# direction, and more samples of haze, low light and rain; an hour and a half of one core for each seed:
#   python tools/train.py configs/models/universal_nafnet_recorded.py --cfg-options load_from=CHECKPOINT
_base_ = "universal_nafnet_large.py"

train_dataloader = dict(dataset=dict(datasets={{_base_._with_recorded}}))
train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[dict(name="whole", iters=4_000, patch=224, lr=6e-4, min_lr=1e-6, warmup_iters=50, mixing="proportional")],
)
