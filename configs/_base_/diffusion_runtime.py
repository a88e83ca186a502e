# Training of a diffusion model: averaged weights, no time steps to match.
_base_ = "default_runtime.py"

custom_hooks = [dict(type="StageEMAHook", decay=0.9999), dict(type="ReportHook")]
