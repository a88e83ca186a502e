# More of universal_nafnet_recorded.py, with haze whose airlight is grey or white; 40 minutes of one core:
#   python tools/train.py configs/models/universal_nafnet_airlights.py --cfg-options load_from=CHECKPOINT
_base_ = "universal_nafnet_recorded.py"

train_dataloader = dict(dataset=dict(datasets={{_base_._with_airlights}}))
train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[dict(name="whole", iters=2_000, patch=224, lr=4e-4, min_lr=1e-6, warmup_iters=50, mixing="proportional")],
)
