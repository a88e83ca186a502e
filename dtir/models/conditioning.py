"""Time conditioning from outside (method.md 1): any backbone becomes F(x, t) without being edited."""

import math

import torch
from torch import Tensor, nn

from dtir.registry import ADAPTERS, BACKBONES, CONDITIONING
from dtir.utils.errors import ConfigError

# The embedding's frequencies are those for the 1000 steps of DDPM; T = 50 steps are spread over the same range.
STEP_SCALE = 20.0


class TimeEmbedding(nn.Module):
    """Sinusoids of the time step, then an MLP.

    Args:
        dim: Length of the embedding, even.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        frequencies = torch.exp(-math.log(10000.0) * torch.arange(dim // 2) / (dim // 2))
        self.register_buffer("frequencies", frequencies * STEP_SCALE, persistent=False)
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, t: Tensor) -> Tensor:
        """Time steps (B,), integer or float, 0 for no noise, to (B, dim)."""
        phase = t.float()[:, None] * self.frequencies
        return self.mlp(torch.cat([phase.sin(), phase.cos()], dim=1))


class BlockEntry:
    """Forward pre-hook: scales and shifts what enters a block.

    A plain object that holds its owner, so that copying the network copies the hook with the owner it belongs to.
    """

    def __init__(self, owner: "ConditionedNetwork", index: int) -> None:
        self.owner, self.index = owner, index

    def __call__(self, block: nn.Module, args: tuple) -> tuple:
        """Arguments of the block, the first one modulated."""
        x, *rest = args
        scale, shift = self.owner.modulation[self.index]
        if x.ndim == 4:
            scale, shift = scale[..., None, None], shift[..., None, None]
        else:
            scale, shift = scale[:, None], shift[:, None]
        return (torch.addcmul(shift.to(x.dtype), x, scale.to(x.dtype)), *rest)


class BlockExit:
    """Forward hook: applies the block's adapter to what leaves it."""

    def __init__(self, owner: "ConditionedNetwork", index: int) -> None:
        self.owner, self.index = owner, index

    def __call__(self, block: nn.Module, args: tuple, output: Tensor) -> Tensor:
        """The adapted output of the block."""
        return self.owner.adapters[self.index](output, self.owner.prompt)


@CONDITIONING.register_module(name="TimeConditioning")
class ConditionedNetwork(nn.Module):
    """A backbone with a scale and shift by the time step at the entry of each block.

    The modulation is attached by hooks to the blocks that the backbone declares (`ordered_blocks()`), and is the
    identity at initialisation: the network then computes exactly what the backbone does, whose state-dict keys stay
    as published under `backbone.`.

    Args:
        backbone: A network from (B, 3, H, W) to the same shape, or its config.
        embed_dim: Length of the time embedding, even.
        adapter: Config of the adapters after each block, or None.

    Raises:
        ConfigError: The backbone does not declare its blocks, or a declared block does not exist or is not called once.
    """

    def __init__(self, backbone: nn.Module | dict, embed_dim: int = 64, adapter: dict | None = None) -> None:
        super().__init__()
        self.backbone = backbone if isinstance(backbone, nn.Module) else BACKBONES.build(backbone)
        blocks = _named_blocks(self.backbone)
        widths = _block_widths(self.backbone, blocks)
        self.embedding = TimeEmbedding(embed_dim)
        self.widths = [entry for entry, _ in widths]
        self.to_modulation = nn.Linear(embed_dim, 2 * sum(self.widths))
        nn.init.zeros_(self.to_modulation.weight)
        nn.init.zeros_(self.to_modulation.bias)
        self.adapters = nn.ModuleList(
            ADAPTERS.build({**adapter, "channels": width, "prompt_dim": embed_dim}) for _, width in widths if adapter
        )
        self.modulation: list[tuple[Tensor, Tensor]] = []
        self.prompt: Tensor | None = None
        for index, block in enumerate(blocks.values()):
            block.register_forward_pre_hook(BlockEntry(self, index))
            if adapter:
                block.register_forward_hook(BlockExit(self, index))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """F(x, t).

        Args:
            x: Pictures (B, 3, H, W) in [0, 1]; noised ones go beyond.
            t: Time steps (B,), integer or float, 0..T; 0 means no noise.
        """
        self.prompt = self.embedding(t)
        parts = self.to_modulation(self.prompt).split([2 * width for width in self.widths], dim=1)
        self.modulation = [(1 + scale, shift) for scale, shift in (part.chunk(2, dim=1) for part in parts)]
        return self.backbone(x)

    def __getstate__(self) -> dict:
        """State for copies: without what the last forward left behind, which has a graph and cannot be copied."""
        return {**self.__dict__, "modulation": [], "prompt": None}


def _named_blocks(backbone: nn.Module) -> dict[str, nn.Module]:
    kind = type(backbone).__name__
    if not hasattr(backbone, "ordered_blocks"):
        raise ConfigError(
            f"backbone {kind} has no ordered_blocks(); add a method that returns the names of its blocks, shallow to "
            "deep, such as ['encoder.0', 'encoder.1', 'decoder.0']."
        )
    names = backbone.ordered_blocks()
    modules = dict(backbone.named_modules())
    missing = [name for name in names if name not in modules]
    if missing or not names or len(set(names)) != len(names):
        raise ConfigError(
            f"backbone {kind}: ordered_blocks() must name existing submodules, at least one, each once; "
            f"got {names[:8]}, missing {missing[:8]}."
        )
    return {name: modules[name] for name in names}


@torch.no_grad()
def _block_widths(backbone: nn.Module, blocks: dict[str, nn.Module]) -> list[tuple[int, int]]:
    """Channels at entry and exit of each block, seen in one forward pass of a small picture."""
    seen: dict[str, list[tuple[int, int]]] = {name: [] for name in blocks}
    handles = [
        block.register_forward_hook(lambda _, args, out, name=name: seen[name].append((_width(args[0]), _width(out))))
        for name, block in blocks.items()
    ]
    training = backbone.training
    side = getattr(backbone, "size_multiple", 8)
    parameter = next(backbone.parameters())
    backbone.eval()(torch.zeros(1, 3, side, side, device=parameter.device, dtype=parameter.dtype))
    backbone.train(training)
    for handle in handles:
        handle.remove()
    wrong = [name for name, widths in seen.items() if len(widths) != 1]
    if wrong:
        raise ConfigError(
            f"backbone {type(backbone).__name__}: each block of ordered_blocks() must be called once per forward pass; "
            f"{', '.join(f'{name} was called {len(seen[name])} times' for name in wrong[:4])}."
        )
    return [widths[0] for widths in seen.values()]


def _width(x: Tensor) -> int:
    return x.shape[1] if x.ndim == 4 else x.shape[-1]
