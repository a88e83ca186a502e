# The variance-exploding bridge of DDBM.
_base_ = "ddbm_deraining.py"

model = dict(scheduler=dict(kind="ve", sigma_min=0.002))
