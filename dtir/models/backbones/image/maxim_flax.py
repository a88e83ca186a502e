"""Published Flax checkpoints of MAXIM as state dicts."""

from collections.abc import Mapping

import torch
from torch import Tensor

from dtir.core.errors import ConfigError


def from_flax(arrays: Mapping, prefix: str = "opt/target/") -> dict[str, Tensor]:
    """The state dict of a published Flax checkpoint.

    Args:
        arrays: What `numpy.load` reads from a published `checkpoint.npz`: arrays by their path, such as
            "opt/target/stage_0_input_conv_0/kernel".
        prefix: What the paths of the parameters begin with.

    Raises:
        ConfigError: No array has such a path.
    """
    state = {}
    for path in arrays:
        if path.startswith(prefix):
            module, _, leaf = path.removeprefix(prefix).rpartition("/")
            name = f"{module.replace('/', '.')}.{'bias' if leaf == 'bias' else 'weight'}"
            state[name] = _to_torch(torch.from_numpy(arrays[path][...].copy()), module, leaf)
    if not state:
        raise ConfigError(f"none of the {len(list(arrays))} arrays has a path that begins with {prefix!r}.")
    return state


def _to_torch(value: Tensor, module: str, leaf: str) -> Tensor:
    """A Flax parameter in the shape of ours; kernels end with input and output channels there."""
    if leaf != "kernel":
        return value
    if "ConvTranspose" in module:
        # Flax does not mirror the kernel of a transposed convolution.
        return value.flip(0, 1).permute(2, 3, 0, 1).contiguous()
    if value.ndim == 4:
        return value.permute(3, 2, 0, 1).contiguous()
    # Of dense layers, only those that mix pixels are matrices here.
    mixes = module.endswith(("GatingUnit/Dense_0", "Gating_x/Dense_0", "Gating_x/Dense_1"))
    mixes |= module.endswith(("Gating_y/Dense_0", "Gating_y/Dense_1"))
    return value.t().contiguous() if mixes else value.t()[..., None, None].contiguous()
