"""Time conditioning from outside (method.md 1): any backbone becomes F(x, t) without being edited."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from dtir.registry import ADAPTERS, BACKBONES, CONDITIONING
from dtir.utils.errors import ConfigError
from dtir.utils.precision import without_autocast

from .backbones.pictures import restored_picture

# The embedding's frequencies are those for the 1000 steps of DDPM; T = 50 steps are spread over the same range.
STEP_SCALE = 20.0
# The side of the picture on which the blocks are tried; larger than any padding by reflection asks for.
PROBE_SIDE = 16


def sinusoidal_embedding(t: Tensor, dim: int) -> Tensor:
    """Sines and cosines (B, dim) of time steps (B,), computed in at least float32.

    The phases reach 1000 radians, of which a half-precision number keeps no fraction: so nothing here is a buffer,
    which would be cast along with the network.
    """
    t = t.to(torch.promote_types(t.dtype, torch.float32)) * STEP_SCALE
    half = dim // 2
    index = torch.arange(half, device=t.device, dtype=t.dtype)
    phase = t[:, None] * torch.exp(index * (-math.log(10000.0) / half))
    return torch.cat([phase.sin(), phase.cos()], dim=1)


class TimeEmbedding(nn.Module):
    """Sinusoids of the time step, then an MLP.

    Args:
        dim: Length of the embedding, even.

    Raises:
        ConfigError: `dim` is odd or not positive.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        if dim < 2 or dim % 2:
            raise ConfigError(f"embed_dim={dim}: the time embedding needs an even length, such as 64.")
        self.dim = dim
        self.mlp = nn.Sequential(nn.Linear(dim, dim), nn.SiLU(), nn.Linear(dim, dim))

    def forward(self, t: Tensor) -> Tensor:
        """Time steps (B,), integer or float, 0 for no noise, to (B, dim)."""
        return self.mlp(sinusoidal_embedding(t, self.dim).to(self.mlp[0].weight.dtype))


class TimePrompt(nn.Module):
    """What the adapters' routers read: a learned embedding of the step, added to the sinusoidal one (method.md 5).

    Args:
        num_timesteps: T.
        dim: Length of the prompt.
    """

    def __init__(self, num_timesteps: int, dim: int) -> None:
        super().__init__()
        self.num_timesteps = num_timesteps
        self.learned = nn.Parameter(torch.zeros(num_timesteps + 1, dim))

    def forward(self, t: Tensor, embedding: Tensor) -> Tensor:
        """Time steps (B,) in 0..T, rounded where they are fractions, and their embedding (B, dim), to (B, dim)."""
        return embedding + self.learned[t.round().long()]


class Modulation(NamedTuple):
    """What one block gets in one forward pass: gain and shift (B, C), the time prompt, and the block's adapter."""

    gain: Tensor
    shift: Tensor
    prompt: Tensor
    adapter: nn.Module | None


class RunningPass:
    """The modulations of the forward pass that is running, None outside of one: blocks are then left alone.

    Copies start empty, since what a pass holds has a graph.
    """

    def __init__(self) -> None:
        self.modulations: list[Modulation] | None = None

    def __reduce__(self) -> tuple:
        return RunningPass, ()

    @contextmanager
    def holding(self, modulations: list[Modulation]) -> Iterator[None]:
        """Gives the modulations to the blocks for the time of a `with` statement."""
        self.modulations = modulations
        try:
            yield
        finally:
            self.modulations = None


class BlockHooks:
    """Hooks of one block. They know the running pass and no module, so that a copied network has its own.

    A backbone that checkpoints its blocks runs them again in the backward pass, perhaps after further forward passes
    with other time steps. The second run gets the same tensor as the first one did: what was used for it is
    remembered for as long as it lives.
    """

    def __init__(self, running: RunningPass, index: int) -> None:
        self.running, self.index = running, index
        self.used: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    def __reduce__(self) -> tuple:
        return BlockHooks, (self.running, self.index)

    def modulate(self, block: nn.Module, args: tuple) -> tuple | None:
        """Forward pre-hook: the block's arguments, the first one scaled and shifted."""
        x, *rest = args
        modulation = self._modulation_for(x)
        if modulation is None:
            return None
        y = _scale_and_shift(x, modulation)
        if torch.is_grad_enabled() and not torch.compiler.is_compiling():
            self.used[x] = modulation
            if modulation.adapter is not None:
                self.used[y] = modulation
        return (y, *rest)

    def adapt(self, block: nn.Module, args: tuple, output: Tensor) -> Tensor | None:
        """Forward hook: the block's output with its adapter applied."""
        modulation = self._modulation_for(args[0])
        return None if modulation is None else modulation.adapter(output, modulation.prompt)

    def _modulation_for(self, x: Tensor) -> Modulation | None:
        if self.running.modulations is not None:
            return self.running.modulations[self.index]
        return self.used.get(x)


def _scale_and_shift(x: Tensor, modulation: Modulation) -> Tensor:
    gain, shift, *_ = modulation
    shape = (len(gain), -1, 1, 1) if x.ndim == 4 else (len(gain), 1, -1)
    # Gain and shift stay in float32 under autocast: rounding them would be an error shared by all pixels.
    return torch.addcmul(shift.view(shape), x, gain.view(shape)).to(x.dtype)


@CONDITIONING.register_module(name="TimeConditioning")
class ConditionedNetwork(nn.Module):
    """A backbone with a scale and shift by the time step at the entry of each block.

    The modulation is attached by hooks to the blocks that the backbone declares (`ordered_blocks()`), and is the
    identity at initialisation: the network then computes exactly what the backbone does, whose state-dict keys stay
    as published under `backbone.`. Called by itself, the backbone stays what it was.

    A block's first argument must be its features, (B, C, H, W) or tokens (B, N, C). A recurrent backbone may call a
    block several times in one pass; each call is modulated alike.

    Args:
        backbone: A network from (B, 3, H, W) to the same shape, or its config.
        embed_dim: Length of the time embedding, even.
        adapter: Config of the adapters after each block, or None; see `dtir.models.adapters.Adapter`.
        num_timesteps: T, the noisiest step; adapters have a prompt for each.

    Raises:
        ConfigError: The backbone does not declare its blocks, or a declared block does not exist, is never called,
            or is called with something else than features.
    """

    def __init__(
        self,
        backbone: nn.Module | dict,
        embed_dim: int = 64,
        adapter: dict | None = None,
        num_timesteps: int = 50,
    ) -> None:
        super().__init__()
        self.backbone = backbone if isinstance(backbone, nn.Module) else BACKBONES.build(backbone)
        blocks = _named_blocks(self.backbone)
        calls = _block_calls(self.backbone, blocks)
        self.num_timesteps = num_timesteps
        self.embedding = TimeEmbedding(embed_dim)
        self.widths = [_channels(entry, name) for name, (entry, _) in calls.items()]
        self.to_modulation = nn.Linear(embed_dim, 2 * sum(self.widths))
        nn.init.zeros_(self.to_modulation.weight)
        nn.init.zeros_(self.to_modulation.bias)
        self.prompt = TimePrompt(num_timesteps, embed_dim) if adapter else None
        self.adapters = nn.ModuleList(
            ADAPTERS.build({**adapter, "channels": _channels(end, name), "prompt_dim": embed_dim})
            for name, (_, end) in calls.items()
            if adapter
        )
        self._running = RunningPass()
        for index, block in enumerate(blocks.values()):
            hooks = BlockHooks(self._running, index)
            block.register_forward_pre_hook(hooks.modulate)
            if adapter:
                block.register_forward_hook(hooks.adapt)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """F(x, t).

        Args:
            x: Pictures (B, 3, H, W) in [0, 1]; noised ones go beyond.
            t: Time steps (B,), integer or float, 0..T; 0 means no noise.

        Raises:
            ValueError: `t` is not one step per picture.
        """
        if t.shape != x.shape[:1]:
            raise ValueError(f"t must hold one time step per picture, shape ({len(x)},), got {tuple(t.shape)}")
        with self._running.holding(self._modulations(t)):
            return restored_picture(self.backbone, x)

    def _modulations(self, t: Tensor) -> list[Modulation]:
        with without_autocast(t.device):
            embedding = self.embedding(t)
            scale, shift = self.to_modulation(embedding).chunk(2, dim=1)
            prompt = self.prompt(t, embedding) if self.prompt else embedding
        gains, shifts = (1 + scale).split(self.widths, dim=1), shift.split(self.widths, dim=1)
        adapters = self.adapters if len(self.adapters) else [None] * len(self.widths)
        return [Modulation(gain, shift, prompt, a) for gain, shift, a in zip(gains, shifts, adapters, strict=True)]


def _named_blocks(backbone: nn.Module) -> dict[str, nn.Module]:
    kind = type(backbone).__name__
    if not hasattr(backbone, "ordered_blocks"):
        raise ConfigError(
            f"backbone {kind} has no ordered_blocks(); add a method that returns the names of its blocks, shallow to "
            "deep, such as ['encoder.0', 'encoder.1', 'decoder.0']."
        )
    names = backbone.ordered_blocks()
    modules = dict(backbone.named_modules(remove_duplicate=False))
    missing = [name for name in names if name not in modules]
    if missing or not names or len({id(modules[name]) for name in names}) != len(names):
        raise ConfigError(
            f"backbone {kind}: ordered_blocks() must name existing submodules, at least one, each once; "
            f"got {names[:8]}, missing {missing[:8]}."
        )
    return {name: modules[name] for name in names}


def _block_calls(backbone: nn.Module, blocks: dict[str, nn.Module]) -> dict[str, tuple[object, object]]:
    """First argument and output of each block, in one forward pass of a small black picture."""
    seen: dict[str, list[tuple[object, object]]] = {name: [] for name in blocks}
    handles = [
        block.register_forward_hook(
            lambda _, args, output, name=name: seen[name].append((args[0] if args else None, output))
        )
        for name, block in blocks.items()
    ]
    try:
        probe(backbone)
    finally:
        for handle in handles:
            handle.remove()
    idle = [name for name, calls in seen.items() if not calls]
    if idle:
        raise ConfigError(
            f"backbone {type(backbone).__name__}: each block of ordered_blocks() must be called in a forward pass; "
            f"not called: {', '.join(idle[:4])}."
        )
    return {name: calls[0] for name, calls in seen.items()}


@torch.no_grad()
def probe(backbone: nn.Module) -> None:
    """One forward pass of a small black picture, which leaves no trace but what hooks see."""
    modes = {module: module.training for module in backbone.modules()}
    multiple = getattr(backbone, "size_multiple", 1)
    side = -(-PROBE_SIDE // multiple) * multiple
    like = next(backbone.parameters(), torch.empty(0))
    try:
        backbone.eval()(torch.zeros(1, 3, side, side, device=like.device, dtype=like.dtype))
    finally:
        # Module by module: a backbone may keep some of its parts in eval mode.
        for module, training in modes.items():
            module.training = training


def _channels(x: object, name: str) -> int:
    if not isinstance(x, Tensor) or x.ndim not in (3, 4) or len(x) != 1:
        found = f"a tensor {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ConfigError(
            f"block {name} must take as its first positional argument, and give where it has an adapter, features "
            f"(B, C, H, W) or tokens (B, N, C), B being that of the pictures; for one picture this was {found}."
        )
    return x.shape[1] if x.ndim == 4 else x.shape[-1]
