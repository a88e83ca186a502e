# GOUB (Yue et al., ICML 2024): the generalised Ornstein-Uhlenbeck bridge, with the mean ODE for sampling.
_base_ = "irsde_deraining.py"

model = dict(
    scheduler=dict(_delete_=True, type="GOUB", lambda_square=30, T=100, schedule="cosine", eps=0.005),
    sampler=dict(type="ReverseODESampler"),
)
