# Flow matching from noise, paired with the clean pictures for the shortest paths; the degraded picture is a condition.
_base_ = "flow_deraining.py"

model = dict(scheduler=dict(noise=0.0), source="coupled_noise")
