"""State dicts of diffusers' autoencoders with the keys of latent diffusion."""

import re
from collections.abc import Mapping

from torch import Tensor

# In the order in which they are applied; what is numbered from the coarsest on is numbered anew below.
RENAMED = (
    (r"mid_block\.resnets\.0\.", "mid.block_1."),
    (r"mid_block\.resnets\.1\.", "mid.block_2."),
    (r"mid_block\.attentions\.0\.", "mid.attn_1."),
    (r"down_blocks\.(\d+)\.", r"down.\1."),
    (r"up_blocks\.(\d+)\.", r"up.\1."),
    (r"\.resnets\.", ".block."),
    (r"\.attentions\.", ".attn."),
    (r"\.downsamplers\.0\.", ".downsample."),
    (r"\.upsamplers\.0\.", ".upsample."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"(attn[._]\d+)\.group_norm\.", r"\1.norm."),
    (r"(attn[._]\d+)\.(?:to_q|query)\.", r"\1.q."),
    (r"(attn[._]\d+)\.(?:to_k|key)\.", r"\1.k."),
    (r"(attn[._]\d+)\.(?:to_v|value)\.", r"\1.v."),
    (r"(attn[._]\d+)\.(?:to_out\.0|proj_attn)\.", r"\1.proj_out."),
)
UP = re.compile(r"(decoder\.up\.)(\d+)\.")
PROJECTION = re.compile(r"attn[._]\d+\.(q|k|v|proj_out)\.weight$")


def from_diffusers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with latent diffusion's keys.

    Levels on the way up are numbered from the finest on, and projections of an attention are 1x1 convolutions.
    """
    renamed = {_renamed(key): value for key, value in state.items()}
    levels = {int(found[2]) for found in map(UP.match, renamed) if found}
    last = max(levels, default=0)
    return {
        UP.sub(lambda found: f"{found[1]}{last - int(found[2])}.", key): _as_convolution(key, value)
        for key, value in renamed.items()
    }


def _renamed(key: str) -> str:
    for old, new in RENAMED:
        key = re.sub(old, new, key)
    return key


def _as_convolution(key: str, value: Tensor) -> Tensor:
    return value[..., None, None] if PROJECTION.search(key) and value.ndim == 2 else value
