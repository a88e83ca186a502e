# The backbone on all pairs for as many restoration steps as the method: no diffusion, no time step, no adapters.
_base_ = ["../_base_/baseline_runtime.py", "../_base_/datasets/setting_b.py"]

model = dict(type="SupervisedRestorer", tasks={{_base_._tasks}}, backbone=dict(type="DTIRUNet"))
train_cfg = dict(
    type="StagedTrainLoop",
    val_interval=50_000,
    stages=[dict(name="train", iters=1_300_000, lr=5e-5, validate=True)],
)
optim_wrapper = dict(type="StagedOptimWrapper", optimizer=dict(type="Adam", lr=5e-5, betas=(0.9, 0.999)))
custom_hooks = [dict(type="StageEMAHook", decay=0.999), dict(type="ReportHook")]
