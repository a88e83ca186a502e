# DDBM (Zhou et al., ICLR 2024), variance-preserving, preconditioned, published settings; the network is IR-SDE's.
_base_ = "irsde_deraining.py"

model = dict(
    scheduler=dict(
        _delete_=True,
        type="DDBM",
        kind="vp",
        num_timesteps=40,
        sigma_min=1e-4,
        cov_xy=0.0,
        predicts="preconditioned",
    ),
    sampler=dict(type="DDBMSampler", clip=(-1.0, 1.0)),
    loss=dict(type="L2Loss"),
    matching="output",
    codec="centred",
)
