"""The settings of StableSR's networks from their state dicts."""

import math

from dtir.models.backbones.parts.reading import State, count, whole

# As published, of structure features.
SEMB_CHANNELS = 256
# As published, of the time-aware encoder.
HEADS = 4


def unet_settings(state: State) -> dict:
    """The constructor arguments of `UNetModelDualcondV2` for these keys and shapes, or for Stable Diffusion's own.

    No shape tells the heads: they have 64 channels, as in Stable Diffusion 2, or the most that go into all levels.

    Raises:
        KeyError: The keys are another network's, or a level attends after some of its residual blocks alone.
    """
    settings = _shared(state)
    attention = "middle_block.1"
    transformer = f"{attention}.transformer_blocks."
    spade = state.get("middle_block.0.spade.mlp_shared.0.weight")
    projection = state[f"{attention}.proj_in.weight"]
    return {
        **settings,
        "out_channels": len(state["out.2.weight"]),
        "use_spatial_transformer": True,
        "legacy": False,
        "use_linear_in_transformer": projection.ndim == 2,
        "transformer_depth": count(state, transformer),
        "context_dim": state[f"{transformer}0.attn2.to_k.weight"].shape[1],
        "num_head_channels": math.gcd(
            64, *(factor * settings["model_channels"] for factor in settings["channel_mult"])
        ),
        "semb_channels": SEMB_CHANNELS if spade is None else spade.shape[1],
    }


def encoder_settings(state: State) -> dict:
    """The constructor arguments of `EncoderUNetModelWT` for these keys and shapes; no shape tells the heads, which are
    four, as published.

    Raises:
        KeyError: The keys are another network's.
    """
    settings = _shared(state)
    if not isinstance(settings["num_res_blocks"], int):
        raise KeyError("levels with different numbers of residual blocks")
    return {**settings, "out_channels": len(state["fea_tran.0.out_layers.3.weight"]), "num_heads": HEADS}


def _shared(state: State) -> dict:
    first = state["input_blocks.0.0.weight"]
    model_channels = len(first)
    levels: list[list[int]] = [[]]
    for number in range(1, count(state, "input_blocks.")):
        if f"input_blocks.{number}.0.op.weight" in state:
            levels.append([])
        else:
            levels[-1].append(number)
    if not all(levels):
        raise KeyError("a level without residual blocks")
    counts = [len(level) for level in levels]
    inner = [state[f"input_blocks.{level[0]}.0.out_layers.3.weight"] for level in levels]
    change = state[f"input_blocks.{levels[0][0]}.0.emb_layers.1.weight"]
    return {
        "in_channels": first.shape[1],
        "model_channels": model_channels,
        "num_res_blocks": counts[0] if len(set(counts)) == 1 else counts,
        "attention_resolutions": [2**k for k, level in reversed(list(enumerate(levels))) if _attends(state, level)],
        "channel_mult": [whole(len(weight), model_channels) for weight in inner],
        "use_scale_shift_norm": len(change) == 2 * len(inner[0]),
    }


def _attends(state: State, level: list[int]) -> bool:
    found = {f"input_blocks.{number}.1.norm.weight" in state for number in level}
    if len(found) > 1:
        raise KeyError("a level that attends after some of its residual blocks alone")
    return found.pop()
