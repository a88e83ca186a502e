"""Networks of diffusion processes: they read a state, a condition and a time step."""
