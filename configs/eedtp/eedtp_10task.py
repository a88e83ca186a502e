# The released recipe of the ten tasks. Its script never computes the importances, so that there is no such term.
_base_ = [
    "../_base_/eedtp_runtime.py",
    "../_base_/models/eedtp.py",
    "../_base_/datasets/setting_b.py",
    "../_base_/schedules/eedtp.py",
]

model = dict(
    tasks={{_base_._tasks}},
    matched_t={{_base_._matched_t}},
    network=dict(backbone=dict(adapters=dict(num_experts=10, T=50, reduction=4))),
)
train_cfg = dict(
    stages=[
        {{_base_._pretrain}},
        dict(
            name="incremental",
            iters=100_000,
            per_task=True,
            mixing="proportional",
            validate=True,
            lr=5e-5,
            min_lr=1e-7,
        ),
    ],
    regularizers=[{{_base_._orthogonality}}],
)
custom_hooks = [dict(type="ForgettingHook"), dict(type="BlindTaskHook"), dict(type="ReportHook")]
