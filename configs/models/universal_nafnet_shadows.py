# Parts of their own for shadows as well, which see drawn grounds (asphalt, courts, paving) beside photographs, in
# larger patches. Three quarters of an hour of one core, from a checkpoint of universal_nafnet_parts.py:
#   python tools/misc/grow.py configs/models/universal_nafnet_shadows.py CHECKPOINT grown.pth
#   python tools/train.py configs/models/universal_nafnet_shadows.py --cfg-options load_from=grown.pth
_base_ = "universal_nafnet_parts.py"

model = dict(network=dict(extensions={{_base_._parts}}), matched_t=dict(shadowed=41))
train_dataloader = dict(batch_size=2, dataset=dict(datasets={{_base_._with_grounds}}))
train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[
        dict(
            name="shadows",
            iters=3_000,
            patch=224,
            lr=2e-3,
            min_lr=1e-6,
            warmup_iters=50,
            tasks=["shadowed"],
            trainable=["network.extensions.3.*"],
        )
    ],
)
