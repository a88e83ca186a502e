# What the estimator apart owes to drawn grounds: as method_short.py, with the data of the networks alone.
_base_ = "method_short.py"

_alone = dict(_delete_=True, type="SyntheticDataset", data_root="clean", recursive=True)
estimator_sets = {task: dict(task=task, **_alone) for task in ("shadowed", "noisy", "jpeg-compressed")}
