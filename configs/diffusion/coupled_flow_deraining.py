# Flow matching from noise; the degraded picture is a condition. Noise is paired for the shortest paths among the clean
# pictures of one condition: of pictures that are all different, each keeps its own, and this is plain flow matching.
_base_ = "flow_deraining.py"

model = dict(scheduler=dict(noise=0.0), source="coupled_noise")
