# Plain training that is told the task: a step of its own for each, as a label, and no diffusion at all. What the
# method has to be compared with, for its network is told the task, too.
_base_ = ["../_base_/universal_runtime.py", "../_base_/models/dtir_unet.py", "../_base_/datasets/setting_b.py"]

model = dict(
    tasks={{_base_._tasks}},
    matched_t={
        "motion-blurry": 5,
        "hazy": 10,
        "jpeg-compressed": 15,
        "low-light": 20,
        "noisy": 25,
        "raindrop": 30,
        "rainy": 35,
        "shadowed": 40,
        "snowy": 45,
        "inpainting": 50,
    },
)
train_cfg = dict(
    type="StagedTrainLoop",
    val_interval=50_000,
    stages=[dict(name="train", iters=1_300_000, lr=5e-5, validate=True)],
)
optim_wrapper = dict(type="StagedOptimWrapper", optimizer=dict(type="Adam", lr=5e-5, betas=(0.9, 0.999)))
custom_hooks = [{{_base_._average}}, {{_base_._blind_task}}, dict(type="ReportHook")]
