# The released recipe on snow (Setting A).
_base_ = [
    "../_base_/eedtp_runtime.py",
    "../_base_/models/eedtp.py",
    "../_base_/datasets/setting_a_desnowing.py",
    "../_base_/schedules/eedtp.py",
]

model = dict(tasks={{_base_._tasks}}, matched_t={{_base_._matched_t}})
