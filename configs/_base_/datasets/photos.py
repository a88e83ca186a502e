# The photographs that come with the package; coffee and flower are held out for evaluation. Tasks are the users' part.
_train_files = ["astronaut.png", "chelsea.png", "china.jpg", "motorcycle_left.png", "rocket.jpg"]
_val_files = ["coffee.png", "flower.jpg"]

train_dataloader = dict(batch_size=8, num_workers=2, dataset=dict(type="MultiTaskDataset"))
val_dataloader = dict(
    batch_size=1,
    num_workers=1,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(type="MultiTaskDataset"),
)
val_cfg = dict()
val_evaluator = [dict(type="PSNR"), dict(type="SSIM"), dict(type="InputPSNR")]
test_dataloader = val_dataloader
test_cfg = dict()
test_evaluator = val_evaluator
