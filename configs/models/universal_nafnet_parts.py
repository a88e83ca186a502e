# Parts of their own for three damages on a trained universal model, which stays bit for bit what it was for all others:
# after each block a narrow layer of the damage's, at a time step of its own next to the one it was trained at. An hour
# of one core, from a checkpoint of universal_nafnet_frames.py:
#   python tools/misc/grow.py configs/models/universal_nafnet_parts.py CHECKPOINT extended.pth
#   python tools/train.py configs/models/universal_nafnet_parts.py --cfg-options load_from=extended.pth
_base_ = "universal_nafnet_gpu_cooldown.py"

# Each at a step of its own, next to the one it was trained at. Those of shadows are for universal_nafnet_shadows.py.
_ranks = {6: 13, 16: 14, 31: 12, 41: 16}
_parts = [dict(step=step, start=step - 1, rank=rank) for step, rank in _ranks.items()]
_steps = {"motion-blurry": 6, "jpeg-compressed": 16, "raindrop": 31}

model = dict(network=dict(type="ExtendedConditioning", extensions=_parts[:3]), matched_t=_steps)
train_cfg = dict(
    _delete_=True,
    type="StagedTrainLoop",
    stages=[
        dict(
            name="parts",
            iters=3_600,
            patch=160,
            lr=2e-3,
            min_lr=1e-6,
            warmup_iters=50,
            tasks=list(_steps),
            trainable=["network.extensions.*"],
        )
    ],
)
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type="AdamW", lr=2e-3, betas=(0.9, 0.99), weight_decay=0.0, fused=True)
)
