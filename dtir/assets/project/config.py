# Stripes, restored by MyNet: pre-training, matching of the time step, fine-tuning.
_base_ = ["dtir::_base_/default_runtime.py", "dtir::_base_/datasets/photos.py"]

custom_imports = dict(imports=["my_project"])

model = dict(
    type="DiffusionRestorer",
    tasks=["striped"],
    network=dict(type="TimeConditioning", backbone=dict(type="MyNet", width=16, depth=4)),
    scheduler=dict(type="MySineScheduler", num_timesteps=50),
    restoration_loss=dict(type="MyRowLoss", rows=1.0),
    noise_units="image",
)

_photos = dict(type="MyDataset", data_root="asset://photos")
train_dataloader = dict(
    batch_size=8,
    dataset=dict(datasets=[dict(**_photos, files={{_base_._train_files}}, patch=48)]),
)
val_dataloader = dict(
    dataset=dict(datasets=[dict(**_photos, files={{_base_._val_files}}, max_size=256)]),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type="PSNR"), dict(type="SSIM"), dict(type="InputPSNR"), dict(type="MyRowError")]
test_evaluator = val_evaluator

train_cfg = dict(
    type="StagedTrainLoop",
    stages=[
        dict(name="pretrain", iters=300, lr=2e-3, generative_share=1.0, warmup_iters=20),
        dict(name="finetune", iters=700, lr=2e-3, generative_share=0.1, warmup_iters=20, validate=True),
    ],
    regularizers=[dict(type="MySmallWeights", weight=1e-3)],
)
optim_wrapper = dict(type="StagedOptimWrapper", optimizer=dict(type="AdamW", lr=2e-3), clip_grad=1.0)
custom_hooks = [
    dict(type="StageEMAHook", decay=0.99),
    dict(type="TimestepMatchingHook", before="finetune", num_images=8),
    dict(type="ReportHook"),
    dict(type="MyStageNorms"),
]
