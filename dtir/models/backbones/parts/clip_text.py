"""What OpenCLIP's text tower makes of the empty text (Radford et al., ICML 2021; Cherti et al., CVPR 2023), as Stable
Diffusion 2 reads it: after the last block but one of the tower, and the final norm."""

import torch
from torch import Tensor
from torch.nn import functional as F

from .reading import State, count

# Of the tokens of every CLIP.
BEGIN, END = 49406, 49407
HEAD_DIM = 64


@torch.no_grad()
def empty_prompt(state: State, left_out: int = 1) -> Tensor:
    """The embedded empty text (1, tokens, width).

    Args:
        state: State dict of the text tower: `token_embedding.weight`, `positional_embedding`,
            `transformer.resblocks.*` and `ln_final.*`.
        left_out: Blocks at the end that are not run; 0 where the file does not have the last one anyway.

    Raises:
        KeyError: The keys are another network's.
    """
    places = state["positional_embedding"]
    text = torch.zeros(len(places), dtype=torch.long)
    # A smaller vocabulary has the two last, as CLIP's own has.
    entries = len(state["token_embedding.weight"])
    text[0], text[1] = min(BEGIN, entries - 2), min(END, entries - 1)
    x = (state["token_embedding.weight"][text] + places)[None]
    for block in range(count(state, "transformer.resblocks.") - left_out):
        x = _block(state, f"transformer.resblocks.{block}.", x)
    return _norm(state, "ln_final", x)


def _block(state: State, prefix: str, x: Tensor) -> Tensor:
    heads = x.shape[-1] // HEAD_DIM
    weight, bias = (state[f"{prefix}attn.in_proj_{kind}"] for kind in ("weight", "bias"))
    qkv = F.linear(_norm(state, f"{prefix}ln_1", x), weight, bias)
    q, k, v = qkv.unflatten(-1, (3, heads, HEAD_DIM)).permute(2, 0, 3, 1, 4)
    out = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)
    x = x + _linear(state, f"{prefix}attn.out_proj", out)
    hidden = F.gelu(_linear(state, f"{prefix}mlp.c_fc", _norm(state, f"{prefix}ln_2", x)))
    return x + _linear(state, f"{prefix}mlp.c_proj", hidden)


def _norm(state: State, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])


def _linear(state: State, name: str, x: Tensor) -> Tensor:
    return F.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])
