# No matching: after the same pre-training every task has a step of its own, evenly spaced in the order of the config.
# The network is told the task as in the whole method, and layer decay and routing act; the steps mean nothing.
_base_ = "../dtir/dtir_unet_10task.py"

model = dict(
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
custom_hooks = [
    {{_base_._average}},
    {{_base_._forgetting}},
    {{_base_._blind_task}},
    {{_base_._experts}},
    dict(type="ReportHook"),
]
