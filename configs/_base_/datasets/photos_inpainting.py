# Strokes of missing pixels in the photographs that come with the package.
_base_ = "photos.py"

_tasks = ["inpainting"]
_source = dict(
    type="SyntheticDataset",
    task="inpainting",
    data_root="asset://photos",
    degradation="InpaintingMask",
    severity=(0.3, 0.7),
)

train_dataloader = dict(dataset=dict(datasets=[dict(**_source, files={{_base_._train_files}}, patch=64, recolor=0.3)]))
val_dataloader = dict(dataset=dict(datasets=[dict(**_source, files={{_base_._val_files}}, max_size=320)]))
test_dataloader = val_dataloader
