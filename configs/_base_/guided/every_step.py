# Training-free guidance: `dtir guide INPUT --checkpoint CKPT --config CONFIG --out DIR`.
# `sigma_y` is the standard deviation of the measurements' noise on pictures in [-1, 1].
sampler = dict(num_steps=50)
sigma_y = 0.0
seed = 0
