"""The settings of MAXIM from its state dict."""

from torch import Tensor

from dtir.models.backbones.parts.reading import State, count, root, whole


def settings_from(state: State) -> dict:
    """The constructor arguments of `MAXIM` for these keys and shapes; blocks and grids are taken to be squares.

    Raises:
        KeyError: The keys are another network's.
    """
    features = len(state["stage_0_input_conv_0.weight"])
    depth, stages = count(state, "stage_0_encoder_block_"), count(state, "stage_")
    bottom = "stage_0_global_block_0"
    layer = f"{bottom}.SplitHeadMultiAxisGmlpLayer_0"
    low = root(len(state[f"{layer}.BlockGmlpLayer.BlockGatingUnit.Dense_0.weight"]))
    # Of every level, the sides of the grid and the block.
    grids, blocks = (
        [
            root(len(state[f"stage_0_cross_gating_block_{i}.SplitHeadMultiAxisGating_x.Dense_{k}.weight"]))
            for i in range(depth)
        ]
        for k in (0, 1)
    )
    squeeze = state[f"{bottom}.channel_attention_block_1_0.channel_attention.Conv_0.weight"]
    return {
        "features": features,
        "depth": depth,
        "num_stages": stages,
        "num_groups": count(state, f"{bottom}.channel_attention_block_1_"),
        "use_bias": "stage_0_input_conv_0.bias" in state,
        "num_supervision_scales": count(state, "stage_0_input_conv_"),
        "use_global_mlp": count(state, "stage_0_encoder_block_0.SplitHeadMultiAxisGmlpLayer_") > 0,
        "high_res_stages": sum(side == blocks[0] for side in blocks),
        "block_size_hr": (blocks[0], blocks[0]),
        "block_size_lr": (low, low),
        "grid_size_hr": (grids[0], grids[0]),
        "num_bottleneck_blocks": count(state, "stage_0_global_block_"),
        "block_gmlp_factor": _widening(state[f"{layer}.BlockGmlpLayer.in_project.weight"]),
        "grid_gmlp_factor": _widening(state[f"{layer}.GridGmlpLayer.in_project.weight"]),
        "input_proj_factor": _widening(state[f"{layer}.in_project.weight"]),
        "channels_reduction": whole(squeeze.shape[1], squeeze.shape[0]),
        "num_outputs": len(state[f"stage_{stages - 1}_output_conv_0.weight"]),
    }


def _widening(weight: Tensor) -> int:
    return whole(weight.shape[0], weight.shape[1])
