# DA-CLIP's universal restoration (Luo et al., ICLR 2024): IR-SDE with embeddings of the ten tasks. The embeddings come
# from outside, as a file of `text` and `image`, (10, 512) each; see TaskContextsHook.
_base_ = [
    "../_base_/diffusion_runtime.py",
    "../_base_/models/irsde.py",
    "../_base_/datasets/setting_b.py",
    "../_base_/schedules/bridge.py",
]

model = dict(
    type="DACLIPRestorer",
    tasks={{_base_._tasks}},
    backbone=dict(_delete_=True, type="DACLIPUNet", nf=64, ch_mult=[1, 2, 4, 8], use_image_context=True),
    scheduler=dict(max_sigma=50),
)
custom_hooks = [
    dict(type="StageEMAHook", decay=0.9999),
    dict(type="TaskContextsHook", file="data/daclip_contexts.safetensors"),
    dict(type="ReportHook"),
]
