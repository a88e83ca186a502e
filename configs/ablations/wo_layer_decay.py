# Without LayerDecay.
_base_ = "../dtir/dtir_unet_10task.py"

train_cfg = dict(
    regularizers=[{{_base_._importance}}, {{_base_._orthogonality}}, {{_base_._expert_balance}}],
)
