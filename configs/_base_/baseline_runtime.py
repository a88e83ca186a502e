# Plain training on pairs: no averaged weights, no time steps to match.
_base_ = "default_runtime.py"

custom_hooks = [dict(type="ReportHook")]
