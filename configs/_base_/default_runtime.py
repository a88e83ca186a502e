default_scope = "dtir"
runner_type = "StagedRunner"

default_hooks = dict(logger=dict(interval=50), checkpoint=dict(interval=1000))
custom_hooks = [
    dict(type="StageEMAHook", decay=0.999),
    dict(type="TimestepMatchingHook", before="finetune"),
    dict(type="ReportHook"),
]

randomness = dict(seed=0)
log_processor = dict(by_epoch=False)
visualizer = dict(
    type="Visualizer",
    vis_backends=[dict(type="LocalVisBackend"), dict(type="TensorboardVisBackend")],
)
