# DDBM (Zhou et al., ICLR 2024), variance-preserving, preconditioned; the network is IR-SDE's.
_base_ = "irsde_deraining.py"

model = dict(
    scheduler=dict(_delete_=True, type="DDBM", kind="vp", num_timesteps=40, predicts="preconditioned"),
    sampler=dict(type="DDBMSampler"),
    loss=dict(type="L2Loss"),
    matching="output",
    domain="centred",
)
