"""DA-CLIP's U-Net (Luo et al., "Controlling Vision-Language Models for Multi-Task Image Restoration", ICLR 2024), with
the published state-dict keys. The CLIP towers stay outside: their embeddings are arguments."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from dtir.models.backbones.parts.reading import State, whole
from dtir.models.backbones.parts.spatial_transformer import SpatialTransformer
from dtir.models.backbones.parts.time_unet import (
    HEAD_DIM,
    LinearAttention,
    ResBlock,
    TimeUNet,
    level_widths,
    time_tensor,
)
from dtir.models.backbones.traits import Published
from dtir.registry import BACKBONES

from .conditional_unet import time_mlp

# From this level on, counted from 0, pictures are small enough for attention between all pixels.
FIRST_TRANSFORMER = 3


@BACKBONES.register_module()
class DACLIPUNet(TimeUNet):
    """DA-CLIP's U-Net, published as `ConditionalUNet`: IR-SDE's with a prompt from the degradation's embedding, and
    attention to the embedding of the clean content.

    Args:
        in_nc: Channels of the picture.
        out_nc: Channels of the output.
        nf: Channels of the first features.
        ch_mult: Channels after each level over `nf`.
        context_dim: Length of the embeddings.
        use_degra_context: Whether the degradation's embedding joins the time features.
        use_image_context: Whether there is attention to the content's embedding, from the fourth level on.
        upscale: Without effect, as in the published code.
    """

    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "daclip_unet": Published({"ch_mult": [1, 2, 4, 8], "use_image_context": True}, 48.98)
    }

    def __init__(
        self,
        in_nc: int = 3,
        out_nc: int = 3,
        nf: int = 64,
        ch_mult: Sequence[int] = (1, 2, 4, 4),
        context_dim: int | None = 512,
        use_degra_context: bool = True,
        use_image_context: bool = False,
        upscale: int = 1,
    ) -> None:
        self_context = context_dim if use_image_context else None

        def attention(dim: int) -> nn.Module:
            if not self_context:
                return LinearAttention(dim)
            return SpatialTransformer(dim, dim // HEAD_DIM, HEAD_DIM, context_dim=self_context)

        super().__init__(
            [nf, *(nf * factor for factor in ch_mult)],
            time_mlp(nf),
            lambda dim_in, dim_out: ResBlock(dim_in, dim_out, 4 * nf),
            lambda level, dim: LinearAttention(dim) if level < FIRST_TRANSFORMER else attention(dim),
            attention,
            nn.Conv2d(2 * in_nc, nf, 7, padding=3, bias=False),
            nn.Conv2d(nf, out_nc, 3, padding=1),
            bias=False,
        )
        self.context_dim = self_context
        self.use_degra_context = bool(context_dim and use_degra_context)
        if self.use_degra_context:
            self.prompt = nn.Parameter(torch.rand(1, 4 * nf))
            self.text_mlp = nn.Sequential(nn.Linear(context_dim, 4 * nf), nn.SiLU(), nn.Linear(4 * nf, 4 * nf))
            self.prompt_mlp = nn.Linear(4 * nf, 4 * nf)

    @classmethod
    def settings_of(cls, state: State) -> dict:
        """The constructor arguments of the network with these state-dict keys and shapes.

        Raises:
            KeyError: The keys are another network's.
        """
        image, degradation = "mid_attn.fn.fn.transformer_blocks.0.attn2.to_k.weight", "text_mlp.0.weight"
        context_dim = state[degradation if degradation in state else image].shape[1]
        nf, *widths = level_widths(state)
        return {
            "in_nc": whole(state["init_conv.weight"].shape[1], 2),
            "out_nc": len(state["final_conv.weight"]),
            "nf": nf,
            "ch_mult": [whole(width, nf) for width in widths],
            "context_dim": context_dim,
            "use_degra_context": degradation in state,
            "use_image_context": image in state,
        }

    def forward(
        self,
        xt: Tensor,
        cond: Tensor | None = None,
        time: Tensor | float = 0,
        text_context: Tensor | None = None,
        image_context: Tensor | None = None,
    ) -> Tensor:
        """The noise in `xt`.

        Args:
            xt: States (B, in_nc, H, W), H, W >= 1.
            cond: Degraded pictures (B, in_nc, H, W); the states themselves by default.
            time: Time steps, one or (B,).
            text_context: Embeddings of the degradation (B, context_dim); without, the time stands alone.
            image_context: Embeddings of the content (B, context_dim); zeros by default.

        Returns:
            (B, out_nc, H, W).
        """
        cond = xt if cond is None else cond
        t = self.time_mlp(time_tensor(time, xt))
        if self.use_degra_context and text_context is not None:
            t = t + self.prompt_mlp(self.text_mlp(text_context).softmax(1) * self.prompt)
        context = None
        if self.context_dim:
            context = xt.new_zeros(len(xt), self.context_dim) if image_context is None else image_context
            context = context[:, None]
        return self.run(torch.cat([xt - cond, cond], 1), t, context)
