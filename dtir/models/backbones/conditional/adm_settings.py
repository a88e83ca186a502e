"""The settings of ADM's U-Net from its state dict."""

import math

from dtir.models.backbones.parts.reading import State, count, whole

HEAD_CHANNELS = 64


def settings_from(state: State) -> dict:
    """The constructor arguments of `UNetModel` for these keys and shapes.

    A level ends where an output block has a last part that doubles height and width: a residual block, or a
    convolution.

    Raises:
        KeyError: The keys are another network's.
    """
    outputs = count(state, "output_blocks.")
    ends = [_doubles(state, f"output_blocks.{number}.") for number in range(outputs)]
    levels = sum(end is not None for end in ends) + 1
    blocks = whole(outputs, levels) - 1
    firsts = [f"input_blocks.{1 + level * (blocks + 1)}" for level in range(levels)]
    widths = [len(state[f"{first}.0.out_layers.3.weight"]) for first in firsts]
    model_channels = state["time_embed.0.weight"].shape[1]
    in_channels = state["input_blocks.0.0.weight"].shape[1]
    attending = [level for level, first in enumerate(firsts) if f"{first}.1.qkv.weight" in state]
    attended = [len(state["middle_block.1.norm.weight"]), *(widths[level] for level in attending)]
    return {
        "in_channels": in_channels,
        "model_channels": model_channels,
        "out_channels": len(state["out.2.weight"]),
        "num_res_blocks": blocks,
        "attention_resolutions": [2**level for level in attending],
        "channel_mult": [_plain(width / model_channels) for width in widths],
        "num_head_channels": math.gcd(HEAD_CHANNELS, *attended),
        "use_scale_shift_norm": len(state[f"{firsts[0]}.0.emb_layers.1.weight"]) == 2 * widths[0],
        "resblock_updown": "resblock" in ends,
    }


def _doubles(state: State, block: str) -> str | None:
    """What doubles height and width at the end of an output block, None where nothing does."""
    last = f"{block}{count(state, block) - 1}."
    if f"{last}conv.weight" in state:
        return "convolution"
    return "resblock" if last != f"{block}0." and f"{last}in_layers.2.weight" in state else None


def _plain(factor: float) -> float:
    return int(factor) if factor == int(factor) else factor
