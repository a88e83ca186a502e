# For several tasks: also the forgetting matrix, the blind time step (`--task auto`), and the use of the experts.
_base_ = "default_runtime.py"

_average = dict(type="StageEMAHook", decay=0.999)
_matching = dict(type="TimestepMatchingHook", before="finetune")
_forgetting = dict(type="ForgettingHook")
_blind_task = dict(type="BlindTaskHook")
_experts = dict(type="ExpertUseHook")

custom_hooks = [_average, _matching, _forgetting, _blind_task, _experts, dict(type="ReportHook")]
