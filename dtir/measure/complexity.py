"""What a network costs: parameters and multiply-accumulates."""

from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count


def _attention_flops(query: torch.Size, key: torch.Size, value: torch.Size, *args: object, **kwargs: object) -> int:
    return sdpa_flop_count(query, key, value)


# The table of some versions of PyTorch lacks the attention of CPUs.
CPU_ATTENTION = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops}


def count_parameters(module: nn.Module) -> int:
    """Number of parameters; shared ones count once."""
    return sum(p.numel() for p in module.parameters())


@torch.no_grad()
def count_macs(forward: Callable[[], object]) -> int:
    """Multiply-accumulates of the convolutions, matrix products and attentions in one call.

    This is what papers on restoration networks print as "FLOPs" or "MACs": one multiplication with its addition counts
    once; norms, activations and other elementwise work are left out. Called with a network on the meta device it needs
    neither memory nor time.

    Args:
        forward: Calls the network, such as `lambda: network(x)`.
    """
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        forward()
    return counter.get_total_flops() // 2
