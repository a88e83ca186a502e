# The release averages no weights and matches no steps.
_base_ = "default_runtime.py"

custom_hooks = [dict(type="ReportHook")]
