"""StableSR as one conditional network (Wang et al., "Exploiting Diffusion Prior for Real-World Image Super-Resolution",
IJCV 2024), with the keys of the published checkpoint."""

import dataclasses
import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from dtir.core.errors import CheckpointError
from dtir.models.backbones.parts.clip_text import empty_prompt
from dtir.models.backbones.parts.diffusers_unet import text_tower_from_transformers, unet_from_diffusers
from dtir.models.backbones.parts.layers import pad_to_multiple
from dtir.models.backbones.parts.reading import State
from dtir.models.backbones.traits import Published, Traits
from dtir.registry import BACKBONES

from .stablesr_encoder import ENCODER, EncoderUNetModelWT
from .stablesr_settings import encoder_settings, unet_settings
from .stablesr_unet import UNET, UNetModelDualcondV2

DIFFUSION, STRUCTURE, TEXT = "model.diffusion_model.", "structcond_stage_model.", "cond_stage_model.model."
# CLIP's texts are so long.
TOKENS = 77


@BACKBONES.register_module()
class StableSR(nn.Module):
    """Stable Diffusion's U-Net, steered by the time-aware encoder's features of the degraded picture's code.

    The text is the same for all pictures, and kept as it is embedded: the empty one, in the published code.

    Args:
        unet: Arguments of `UNetModelDualcondV2`; by default the published ones.
        structure: Arguments of `EncoderUNetModelWT`; by default the published ones.
        tokens: Tokens of the embedded text.

    Attributes:
        context: Buffer (1, tokens, context_dim), the embedded text; zeros until it is read from a checkpoint.
    """

    traits: ClassVar[Traits] = Traits(size_multiple=8, licence="S-Lab License 1.0 (non-commercial)")
    PUBLISHED: ClassVar[Mapping[str, Published]] = {"stablesr": Published(channels=4)}
    # What diffusers saves of Stable Diffusion 2.
    published_files: ClassVar = ("unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors")
    context: Tensor

    def __init__(self, unet: Mapping | None = None, structure: Mapping | None = None, tokens: int = TOKENS) -> None:
        super().__init__()
        # As the published checkpoint has it.
        self.model = nn.ModuleDict({"diffusion_model": UNetModelDualcondV2(**(unet or UNET))})
        self.structcond_stage_model = EncoderUNetModelWT(**(structure or ENCODER))
        self.register_buffer("context", torch.zeros(1, tokens, self.unet.context_dim))
        multiple = math.lcm(self.unet.traits.size_multiple, self.structcond_stage_model.size_multiple)
        self.traits = dataclasses.replace(type(self).traits, size_multiple=multiple)

    @property
    def unet(self) -> UNetModelDualcondV2:
        """Stable Diffusion's U-Net."""
        return self.model["diffusion_model"]

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes, but for the encoder's heads.

        Raises:
            KeyError: The keys are another network's.
        """
        unet, structure = unet_settings(_below(state, DIFFUSION)), encoder_settings(_below(state, STRUCTURE))
        return {
            "unet": None if _are(UNET, unet) else unet,
            "structure": None if _are(ENCODER, structure) else structure,
            "tokens": state["context"].shape[1],
        }

    @classmethod
    def published_state(cls, state: State) -> dict[str, Tensor] | None:
        """The state dict in a checkpoint of StableSR, or of Stable Diffusion 2 with what a training starts from.

        The text encoder in the file embeds the empty text. A file without the time-aware encoder gets one, and what is
        steered by it, at random, the same every time.

        Args:
            state: Tensors with the published keys: `model.diffusion_model.*`, `cond_stage_model.model.*` and
                `structcond_stage_model.*`, beside others.

        Returns:
            The state dict, or None where the tensors are another network's.
        """
        own = {key: value for key, value in state.items() if key.startswith((DIFFUSION, STRUCTURE))}
        text = _below(state, TEXT)
        if not text or not any(key.startswith(DIFFUSION) for key in own):
            return None
        own["context"] = empty_prompt(text)
        return own if any(key.startswith(STRUCTURE) for key in own) else cls._started(own)

    @classmethod
    def read_files(cls, files: Mapping[str, State]) -> tuple[dict, dict[str, Tensor]]:
        """Settings and state dict of what a training starts from, of a Stable Diffusion 2 that diffusers has saved.

        Args:
            files: The tensors of its U-Net (`UNet2DConditionModel`) and of its text encoder (`CLIPTextModel`), by the
                names in `published_files`. The rest is as `published_state` makes it.

        Raises:
            CheckpointError: The U-Net is of Stable Diffusion 1, whose heads are others.
            KeyError: A tensor is missing, or one has no place in the network.
        """
        unet, text = (files[name] for name in cls.published_files)
        if unet["mid_block.attentions.0.proj_in.weight"].ndim != 2:
            raise CheckpointError(
                f"{cls.published_files[0]} holds a U-Net of Stable Diffusion 1 (its transformers begin with a "
                "convolution); StableSR goes on from Stable Diffusion 2, such as stable-diffusion-2-1-base."
            )
        own = {DIFFUSION + key: value for key, value in unet_from_diffusers(unet).items()}
        # The last block of the tower, which Stable Diffusion 2 leaves out, is not in the file.
        own["context"] = empty_prompt(text_tower_from_transformers(text), left_out=0)
        state = cls._started(own)
        return cls.settings_of(state), state

    @classmethod
    def _started(cls, own: dict[str, Tensor]) -> dict[str, Tensor]:
        unet = unet_settings(_below(own, DIFFUSION))
        structure = {**ENCODER, "in_channels": unet["in_channels"], "out_channels": unet["semb_channels"]}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return {**cls(unet, structure, own["context"].shape[1]).state_dict(), **own}

    def ordered_blocks(self) -> list[str]:
        """The residual blocks of the U-Net, shallow to deep."""
        return [f"{DIFFUSION}{name}" for name in self.unet.ordered_blocks()]

    def forward(self, x: Tensor, condition: Tensor | None = None, time: Tensor | float = 0) -> Tensor:
        """The noise, or velocity, in latent states.

        Args:
            x: States (B, C, H, W), H, W >= 1.
            condition: Codes of the degraded pictures (B, C, H, W); by default the states themselves.
            time: Time steps, one or (B,), counted from 0.

        Returns:
            (B, C, H, W).
        """
        height, width = x.shape[-2:]
        states = pad_to_multiple(x, self.traits.size_multiple)
        code = states if condition is None else pad_to_multiple(condition, self.traits.size_multiple)
        structure = self.structcond_stage_model.of_levels(code, time)
        context = self.context.to(x.dtype).expand(x.shape[0], -1, -1)
        return self.unet(states, time, context, structure)[..., :height, :width]


def _are(published: Mapping, settings: Mapping) -> bool:
    # Scaling by the time is off where the published settings leave it out.
    return all(published.get(name, False) == value for name, value in settings.items())


def _below(state: State, prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}
