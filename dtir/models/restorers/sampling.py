"""What restorers share whose prediction is a run of a sampler."""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.domain import to_centred
from dtir.diffusion.schedulers import Scheduler
from dtir.diffusion.schedulers.bridge import Bridge
from dtir.imaging.tiling import BLENDS, check_tiling, tiled_apply
from dtir.models.backbones.parts.layers import reflect_pad
from dtir.models.backbones.traits import Traits
from dtir.models.codecs import build_codec
from dtir.registry import BACKBONES, SAMPLERS

from .base import Restorer

CONDITIONS = ("code", "picture")


class SamplingRestorer(Restorer):
    """A restorer that samples: its network is called again and again on a state and the degraded picture.

    A picture is sampled whole, whatever its size; where there are tiles, the network sees one after another and its
    outputs are blended, in every step. Noise thus belongs to places of the picture, and tiles leave no seams. The
    network pads to its own multiple. A codec encodes and decodes the picture whole.

    Args:
        backbone: Config of a conditional network, `(state, condition, level) -> output`.
        tasks: Names of the degradations, in the order of the dataset's tasks.
        sampler: Config of the reverse process.
        num_steps: Steps of a sampling; None for all of the schedule.
        seed: Seed of the noise of a sampling, drawn on the CPU and anew for every call of `restore`: a picture comes
            out the same whatever was restored before it.
        tile: As in `Restorer`, in pixels of the picture.
        tile_overlap: As in `Restorer`.
        data_preprocessor: As in `Restorer`.
        codec: What states are: "centred" pictures in [-1, 1], "image" ones in [0, 1], or config of a codec, such as
            `AutoencoderKL`, for latent ones.
        domain: Earlier name of `codec`.
        condition: What the network is given of the degraded picture: its "code", or the centred "picture" itself, which
            may be larger than the state.
        tile_blend: Weights of tiles where they overlap, "cosine" or "gaussian", see `blend_spans`.

    Raises:
        ConfigError: `codec`, `condition` or `tile_blend` is not one of those named.

    Attributes:
        sampling_scheduler: The process that is sampled on; a subclass sets it.
        num_evals: Evaluations of the network per picture in the last sampling.
    """

    sampling_scheduler: Scheduler | Bridge
    tiles_alone = False

    def __init__(
        self,
        backbone: dict,
        tasks: Sequence[str],
        sampler: dict,
        num_steps: int | None = None,
        seed: int = 0,
        tile: int | None = None,
        tile_overlap: int = 32,
        data_preprocessor: dict | None = None,
        codec: str | dict | None = None,
        domain: str | None = None,
        condition: str = "code",
        tile_blend: str = "cosine",
    ) -> None:
        super().__init__(tasks, 0, tile, tile_overlap, data_preprocessor)
        for name, value, known in (("condition", condition, CONDITIONS), ("tile_blend", tile_blend, BLENDS)):
            if value not in known:
                raise ConfigError(f"model.{name}='{value}'; expected one of {', '.join(known)}.")
        self.backbone = BACKBONES.build(backbone)
        self.codec = build_codec(codec, domain)
        self.condition, self.tile_blend = condition, tile_blend
        self.sampler = SAMPLERS.build(sampler)
        self.num_steps = num_steps
        self.seed = seed
        self.num_evals = 0
        self._tiling: dict | None = None
        self._on_progress: Callable[[int, int], None] | None = None

    @property
    @override
    def traits(self) -> Traits:
        """What the backbone declares of itself, in pixels of the picture."""
        traits = super().traits
        return dataclasses.replace(traits, size_multiple=traits.size_multiple * self.codec.factor)

    @property
    def num_timesteps(self) -> int:
        """0: every picture is sampled through all steps, whatever its task."""
        return 0

    def set_sampling(self, num_steps: int | None = None, seed: int | None = None) -> None:
        """Changes the number of steps or the seed of the samplings to come; None leaves it.

        Raises:
            ConfigError: The schedule has fewer steps.
        """
        if num_steps is not None:
            self.sampling_scheduler.sample_steps(num_steps)
            self.num_steps = num_steps
        self.seed = self.seed if seed is None else seed

    @abstractmethod
    def sample(self, lq: Tensor, generator: torch.Generator) -> Tensor:
        """Runs the sampler by way of `evaluate`.

        Args:
            lq: Degraded pictures (B, 3, H, W) in [0, 1].
            generator: The only source of noise.

        Returns:
            Pictures (B, 3, H, W) in image units, not clipped.
        """

    @torch.no_grad()
    def restore(self, lq: Tensor, t: Tensor) -> Tensor:
        """One sample for each degraded picture (B, 3, H, W) in [0, 1]; `t` plays no part."""
        self.num_evals = 0
        sample = self.sample(lq, torch.Generator().manual_seed(self.seed))
        self.num_evals //= len(lq)
        return sample

    def given(self, z: Tensor, lq: Tensor) -> Tensor:
        """What the network is given of degraded pictures.

        Args:
            z: Their codes (B, C, h, w).
            lq: The pictures (B, 3, H, W) in [0, 1].

        Returns:
            The codes; or the centred pictures, mirrored to `codec.factor` times the size of the codes.
        """
        return z if self.condition == "code" else self.beside_codes(to_centred(lq), z)

    def beside_codes(self, picture: Tensor, z: Tensor) -> Tensor:
        """Pictures (B, C, H, W), mirrored to `codec.factor` times the size of their codes (B, D, h, w)."""
        below, beyond = (self.codec.factor * z.shape[side] - picture.shape[side] for side in (-2, -1))
        return reflect_pad(picture, (0, beyond, 0, below))

    def call_network(self, x: Tensor, condition: Tensor, level: Tensor, network: nn.Module | None = None) -> Tensor:
        """The output (B, C, H, W) of a network, which has a method `conditional` if it is called otherwise.

        Args:
            x: States (B, C, H, W).
            condition: What is given of the degraded pictures, (B, D, r H, r W).
            level: Time steps or levels of noise (B,).
            network: By default the backbone.
        """
        network = self.backbone if network is None else network
        return getattr(network, "conditional", network)(x, condition, level)

    def evaluate(self, x: Tensor, condition: Tensor, level: Tensor) -> Tensor:
        """The network's output for states (B, C, H, W), conditions (B, D, r H, r W) and levels (B,), tiled if asked."""
        self.num_evals += len(x)
        if self._tiling is None:
            return self.call_network(x, condition, level).to(x.dtype)

        channels, ratio = 0, condition.shape[-1] // x.shape[-1]

        def on_tiles(pairs: Tensor) -> Tensor:
            nonlocal channels
            states, conditions = pairs.tensor_split([x.shape[1]], dim=1)
            seen = F.pixel_shuffle(conditions, ratio)
            out = self.call_network(states, seen, level.repeat(len(pairs) // len(level)))
            channels = out.shape[1]
            # Tiling keeps the number of channels: part of the condition comes along and is left out of the result.
            return torch.cat([out, conditions], 1)[:, : pairs.shape[1]]

        # The pixels of the condition below one of the state go along as its channels.
        pairs = torch.cat([x, F.pixel_unshuffle(condition, ratio)], 1)
        return tiled_apply(on_tiles, pairs, **self._tiling)[:, :channels].to(x.dtype)

    def apply_in_tiles(
        self,
        fn: Callable[[Tensor], Tensor],
        image: Tensor,
        tile: int | None = 256,
        overlap: int = 32,
        batch_size: int = 1,
        multiple: int = 1,
        callback: Callable[[int, int], None] | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """As `tiled_apply`, but `fn` is applied to the whole picture; `callback` gets steps done and steps in all."""
        if tile is not None:
            check_tiling(tile, overlap, multiple)
            sides = {"tile": tile, "overlap": overlap, "multiple": multiple}
            states = {name: max(side // self.codec.factor, name != "overlap") for name, side in sides.items()}
            self._tiling = {**states, "batch_size": batch_size, "blend": self.tile_blend}
        self._on_progress = callback
        try:
            return fn(image if device is None else image.to(device)).to(image.device)
        finally:
            self._tiling = self._on_progress = None

    def report_progress(self, done: int, t: int, x: Tensor) -> None:
        """The sampler's callback: tells who waits how many steps are done."""
        if self._on_progress is not None:
            self._on_progress(done, self.num_steps or self.sampling_scheduler.num_timesteps)

    def _predict(self, lq: Tensor, sample: dict) -> dict:
        return {**super()._predict(lq, sample), "num_evals": self.num_evals}
