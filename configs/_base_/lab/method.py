# What the comparison of docs/benchmarks/method.md lays over the configs of configs/dtir and configs/ablations: a small
# network, few iterations, and the photographs under DTIR_DATA (clean/, train_pairs/, real10/, generalization/).
_paired = dict(hazy="train_pairs/hazy", rainy="train_pairs/rainy")
_paired["low-light"] = "train_pairs/low-light"
_synthetic = ["motion-blurry", "jpeg-compressed", "noisy", "raindrop", "shadowed", "snowy", "inpainting"]

backbone = dict(type="DTIRUNet", width=16, enc_blk_nums=[1, 1, 2], middle_blk_num=2, dec_blk_nums=[1, 1, 1])
# Of the released recipe: about as many parameters, and fewer, smaller experts.
released_backbone = dict(
    width=16,
    enc_blk_nums=[1, 1, 2],
    middle_blk_num=2,
    dec_blk_nums=[1, 1, 1],
    adapters=dict(num_experts=4, T=50, reduction=4),
)
patch = 64
test_crop = None
# As the widths are a quarter of those that the default of 13 is for.
adapter_rank = 4
loss = dict(type="PSNRLoss", eps=1e-2)
train_sets = {task: dict(type="PairedDataset", task=task, data_root=root) for task, root in _paired.items()}
train_sets.update(
    {task: dict(type="SyntheticDataset", task=task, data_root="clean", recursive=True) for task in _synthetic}
)

# An estimator of the task learns from the networks' data, and from grounds beside the clean photographs, as shadows lie
# on grounds, whose grain looks like noise to who has seen none.
_on_grounds = {
    "shadowed": (0.5, "Shadow", (0.3, 0.7)),
    "noisy": (0.15, "GaussianNoise", 0.5),
    "jpeg-compressed": (0.15, "JPEGCompression", (0.3, 0.6)),
}
estimator_sets = train_sets | {
    task: dict(
        type="MixtureDataset",
        task=task,
        datasets=[
            train_sets[task],
            dict(type="DrawnDataset", degradation=degradation, severity=severity, draw="DrawGround"),
        ],
        shares=[1 - share, share],
    )
    for task, (share, degradation, severity) in _on_grounds.items()
}

# By the name of the stage; `train` is plain training, `primer` a shorter pre-training of its own.
stages = dict(
    pretrain=dict(iters=3000, lr=2e-3, min_lr=2e-4, warmup_iters=50),
    primer=dict(iters=900, lr=2e-3, min_lr=2e-4, warmup_iters=50),
    finetune=dict(iters=900, lr=2e-3, min_lr=6e-4, warmup_iters=50),
    incremental=dict(iters=[20] * 9 + [420], lr=6e-4, min_lr=2e-5),
    train=dict(iters=1500, lr=2e-3, min_lr=2e-5, warmup_iters=50),
)
# Of the tasks, trained by itself on larger crops.
estimator = dict(iters=2000, patch=112, lr=2e-3, min_lr=2e-5, warmup_iters=50)
matching = dict(num_images=8, distinct=True, first=1)
optimizer = dict(type="AdamW", lr=1e-3, betas=(0.9, 0.99))
importance = dict(weight=0.4, num_samples=16)
