# Lu et al., arXiv 2506.21722, Setting B: the ten sets of DA-CLIP's universal restoration as prepare.py lays them out,
# <split>/<task>/{LQ,GT} under DTIR_DATA (or ./data). Batch 16 in all: 8 processes of 2.
_tasks = [
    "motion-blurry",
    "hazy",
    "jpeg-compressed",
    "low-light",
    "noisy",
    "raindrop",
    "rainy",
    "shadowed",
    "snowy",
    "inpainting",
]

train_dataloader = dict(
    batch_size=2,
    num_workers=4,
    dataset=dict(
        type="MultiTaskDataset",
        datasets=[dict(type="PairedDataset", task=task, data_root=f"train/{task}", patch=128) for task in _tasks],
    ),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        type="MultiTaskDataset",
        datasets=[dict(type="PairedDataset", task=task, data_root=f"val/{task}") for task in _tasks],
    ),
)
val_cfg = dict()
val_evaluator = [dict(type="PSNR"), dict(type="SSIM"), dict(type="InputPSNR")]
test_dataloader = val_dataloader
test_cfg = dict()
# LPIPS needs weights that may not be there, so a training does without: `tools/test.py --without LPIPS` tests without.
test_evaluator = [*val_evaluator, dict(type="LPIPS")]
