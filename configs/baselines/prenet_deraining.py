# PReNet's recipe for Rain100H (train_PReNet.py of csdwren/PReNet): patch 100, negative SSIM of the last stage, Adam.
# Its 100 epochs are counted in steps of 18 of the 27,000 patches that its 1,800 pictures are cut into, the learning
# rate divided by 5 after 30, 50 and 80 of them.
_base_ = ["../_base_/baseline_runtime.py", "../_base_/datasets/deraining.py"]

model = dict(
    type="SupervisedRestorer",
    tasks={{_base_._tasks}},
    backbone=dict(type="PReNet", recurrent_iter=6),
    losses=[dict(type="SSIMLoss")],
    deep_supervision=False,
)
train_dataloader = dict(
    batch_size=18,
    dataset=dict(datasets=[dict(type="PairedDataset", task="rainy", data_root="train/rainy", patch=100)]),
)
val_evaluator = [dict(type=kind, protocol="y_8bit") for kind in ("PSNR", "SSIM", "InputPSNR")]
test_evaluator = val_evaluator
train_cfg = dict(
    type="StagedTrainLoop",
    val_interval=15_000,
    stages=[
        dict(name="epochs_1_30", iters=45_000, lr=1e-3, schedule="constant"),
        dict(name="epochs_31_50", iters=30_000, lr=2e-4, schedule="constant"),
        dict(name="epochs_51_80", iters=45_000, lr=4e-5, schedule="constant"),
        dict(name="epochs_81_100", iters=30_000, lr=8e-6, schedule="constant", validate=True),
    ],
)
optim_wrapper = dict(type="StagedOptimWrapper", optimizer=dict(type="Adam", lr=1e-3))
