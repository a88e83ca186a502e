"""Time conditioning from outside (docs/method.md, section 1): any backbone becomes F(x, t) without being edited."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from dtir.core.errors import ConfigError
from dtir.models.precision import without_autocast
from dtir.registry import BACKBONES, CONDITIONING

from .backbones.traits import traits_of
from .modulation import ModulatedNetwork

# The embedding's frequencies are those for the 1000 steps of DDPM; T = 50 steps are spread over the same range.
STEP_SCALE = 20.0


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
    """What the adapters' routers read: a learned embedding of the step beside the sinusoidal one.

    See docs/method.md, section 5.

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


@CONDITIONING.register_module(name="TimeConditioning")
class ConditionedNetwork(ModulatedNetwork):
    """A backbone with a scale and shift by the time step at the entry of each block.

    The modulation is attached by hooks to the blocks that the backbone declares (`ordered_blocks()`), and is the
    identity at initialisation: the network then computes exactly what the backbone does, whose state-dict keys stay
    as published under `backbone.`. Called by itself, the backbone stays what it was.

    A block's first argument must be its features, (B, C, H, W) or tokens (B, N, C). A recurrent backbone may call a
    block several times in one pass; each call is modulated alike.

    Args:
        backbone: A network from (B, 3, H, W) to the same shape, or its config.
        embed_dim: Length of the time embedding, even.
        adapter: Config of the adapters of each block, or None; see `dtir.models.adapters`.
        num_timesteps: T, the noisiest step; adapters have a prompt for each.
        adapter_blocks: Shell-style patterns of the names of the blocks that have one.
        modulation_rank: Numbers that a step becomes on its way to gains and shifts, which saves parameters; None for as
            many as `embed_dim`. One less than there are tasks is enough for all that their steps can say.

    Raises:
        ConfigError: The backbone does not declare its blocks, or a declared block does not exist, is never called, is
            called with something else than features, or has no place for the adapter; or `modulation_rank` is less
            than 1.
    """

    # Steps at which parts of their own take part, and those that the network runs at then, see `ExtendedNetwork`.
    extended_steps: Sequence[int] = ()
    starts: Sequence[int] = ()

    def __init__(
        self,
        backbone: nn.Module | dict,
        embed_dim: int = 64,
        adapter: dict | None = None,
        num_timesteps: int = 50,
        adapter_blocks: Sequence[str] = ("*",),
        modulation_rank: int | None = None,
    ) -> None:
        super().__init__(backbone, adapter and {**adapter, "prompt_dim": embed_dim}, adapter_blocks)
        if modulation_rank is not None and modulation_rank < 1:
            raise ConfigError(f"model.network.modulation_rank={modulation_rank} must be at least 1, or None.")
        self.num_timesteps = num_timesteps
        self.embedding = TimeEmbedding(embed_dim)
        narrow = nn.Identity() if modulation_rank is None else nn.Linear(embed_dim, modulation_rank, bias=False)
        self.modulation_code = narrow
        self.to_modulation = nn.Linear(modulation_rank or embed_dim, 2 * sum(self.widths))
        nn.init.zeros_(self.to_modulation.weight)
        nn.init.zeros_(self.to_modulation.bias)
        self.prompt = TimePrompt(num_timesteps, embed_dim) if adapter else None

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
        return self.modulated(x, *self.modulation(t))

    def modulation(self, t: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor], Tensor]:
        """Gains and shifts of each block, (B, C), and the time prompt (B, D), at time steps (B,)."""
        with without_autocast(t.device):
            embedding = self.embedding(t)
            scale, shift = self.to_modulation(self.modulation_code(embedding)).chunk(2, dim=1)
            prompt = self.prompt(t, embedding) if self.prompt else embedding
        return (1 + scale).split(self.widths, dim=1), shift.split(self.widths, dim=1), prompt


@CONDITIONING.register_module(name="OwnTime")
class OwnTimeNetwork(nn.Module):
    """A network that reads the time step by itself and returns the residual, as F(x, t) = x - r(x, t).

    Its state dict is the network's, under `backbone.`.

    Args:
        backbone: A network `(x, t) -> r(x, t)`, whose traits say `residual`, or its config.

    Raises:
        ConfigError: The network returns something else.
    """

    def __init__(self, backbone: nn.Module | dict) -> None:
        super().__init__()
        self.backbone = backbone if isinstance(backbone, nn.Module) else BACKBONES.build(backbone)
        if not traits_of(self.backbone).residual:
            raise ConfigError(
                f"model.network: OwnTime is for networks that read the time step and return the residual, such as "
                f"EEDTPRestorationNet; for {type(self.backbone).__name__} use TimeConditioning."
            )

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """F(x, t) for pictures (B, 3, H, W) and time steps (B,)."""
        return x - self.backbone(x, t)


@CONDITIONING.register_module(name="NoisePrediction")
class NoiseNetwork(nn.Module):
    """A network that was trained elsewhere to predict noise, as F(x, t) = x - r(x, t), r having unit variance.

    It takes states in the range of its traits and the index of a step of the process that it was trained on, 0 being
    the first with noise. Its state dict is the network's, under `backbone.`.

    Args:
        backbone: A network `(x, index) -> noise`, or more of which the noise comes first, whose traits say `residual`,
            such as `UNetModel`, or its config.
        stride: Steps of its training for each step of the scheduler here: 20 for 50 steps of 1000.

    Raises:
        ConfigError: The network returns something else, or `stride` is less than 1.
    """

    def __init__(self, backbone: nn.Module | dict, stride: int = 1) -> None:
        super().__init__()
        self.backbone = backbone if isinstance(backbone, nn.Module) else BACKBONES.build(backbone)
        if not traits_of(self.backbone).residual:
            raise ConfigError(
                f"model.network: NoisePrediction is for networks that return the noise, such as UNetModel, not "
                f"{type(self.backbone).__name__}."
            )
        if stride < 1:
            raise ConfigError(f"model.network.stride={stride} must be at least 1.")
        self.stride = stride

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """F(x, t) for pictures (B, 3, H, W), noised ones too, and time steps (B,), at least 1."""
        out = self.backbone(traits_of(self.backbone).input_range.encode(x), self.stride * t - 1)
        return x - (out if isinstance(out, Tensor) else out[0])
