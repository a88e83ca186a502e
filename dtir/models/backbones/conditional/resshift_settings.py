"""The settings of ResShift's U-Net from its state dict."""

from typing import NamedTuple

from torch import Tensor

from dtir.models.backbones.parts.reading import State, count, factor, root, whole

MIDDLE = "middle_block.1"


class Level(NamedTuple):
    """One level on the way down: the numbers of its residual blocks in `input_blocks`."""

    blocks: list[int]

    def width(self, state: State) -> int:
        """Its channels."""
        return len(state[f"input_blocks.{self.blocks[0]}.0.in_layers.2.weight"])

    @property
    def swin(self) -> str:
        """Where its Swin layer is, if it has one."""
        return f"input_blocks.{self.blocks[0]}.1"


def settings_from(state: State) -> dict:
    """The constructor arguments of `UNetModelSwin` for these keys and shapes.

    Levels are told apart by the convolutions that change height and width, as in all published checkpoints.

    Raises:
        KeyError: The keys are another network's.
    """
    model_channels = state["time_embed.0.weight"].shape[1]
    levels = _levels(state)
    attending = [k for k, level in enumerate(levels) if f"{level.swin}.patch_embed.proj.weight" in state]
    image_size = _image_size(state, levels, attending)
    counts = [len(level.blocks) for level in levels]
    embed, heads = len(state[f"{MIDDLE}.patch_embed.proj.weight"]), _table(state, MIDDLE).shape[1]
    return {
        **_inputs(state, image_size),
        "image_size": image_size,
        "model_channels": model_channels,
        "num_res_blocks": counts[0] if len(set(counts)) == 1 else counts,
        "attention_resolutions": [image_size // 2**k for k in attending],
        "channel_mult": [whole(level.width(state), model_channels) for level in levels],
        "num_head_channels": whole(embed, heads),
        "use_scale_shift_norm": len(state["input_blocks.1.0.emb_layers.1.weight"]) == 2 * levels[0].width(state),
        "swin_depth": count(state, f"{MIDDLE}.blocks."),
        "swin_embed_dim": embed,
        "window_size": max(_window(state, swin) for swin in [MIDDLE, *(levels[k].swin for k in attending)]),
        "mlp_ratio": factor([(embed, len(state[f"{MIDDLE}.blocks.0.mlp.fc1.weight"]))]),
        "patch_norm": f"{MIDDLE}.patch_embed.norm.weight" in state,
    }


def _levels(state: State) -> list[Level]:
    levels = [Level([])]
    for number in range(1, count(state, "input_blocks.")):
        if f"input_blocks.{number}.0.op.weight" in state:
            levels.append(Level([]))
        else:
            levels[-1].blocks.append(number)
    if not all(level.blocks for level in levels):
        raise KeyError("a level without residual blocks")
    return levels


def _inputs(state: State, image_size: int) -> dict:
    outputs, inputs = len(state["out.2.weight"]), state["input_blocks.0.0.weight"].shape[1]
    halvings = sum(key.startswith("feature_extractor.") and key.count(".") == 2 for key in state) // 2
    if halvings:
        condition = state["feature_extractor.0.weight"].shape[1]
        channels = inputs - len(state[f"feature_extractor.{3 * halvings - 1}.op.weight"])
    else:
        # The network gives what it is given, a state.
        channels, condition = outputs, inputs - outputs
    return {
        "in_channels": channels,
        "out_channels": outputs,
        "cond_mask": condition == 4,
        "lq_size": image_size * 2**halvings,
    }


def _image_size(state: State, levels: list[Level], attending: list[int]) -> int:
    """From the finest Swin layer, whose masks are made for the side of its features in training."""
    level, swin = (attending[0], levels[attending[0]].swin) if attending else (len(levels) - 1, MIDDLE)
    mask = state.get(f"{swin}.blocks.1.attn_mask")
    windows = 1 if mask is None else root(len(mask))
    return windows * _window(state, swin) * 2**level


def _table(state: State, swin: str) -> Tensor:
    return state[f"{swin}.blocks.0.attn.relative_position_bias_table"]


def _window(state: State, swin: str) -> int:
    return (root(len(_table(state, swin))) + 1) // 2
