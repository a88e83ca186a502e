"""InstructIR (Conde et al., "InstructIR: High-Quality Image Restoration Following Human Instructions", ECCV 2024), with
the published state-dict keys. What reads the instruction stays outside: its embedding is an argument."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from typing_extensions import override

from dtir.models.backbones.image.nafnet import NAFBlock, NAFUNet
from dtir.models.backbones.parts.reading import State
from dtir.models.backbones.traits import Published
from dtir.registry import BACKBONES


class InstructionBlock(nn.Module):
    """Lets an instruction choose among the channels of features (section 3.3 of the paper, "ICB").

    Args:
        feature_dim: Channels of the features.
        text_dim: Length of the instruction's embedding.
    """

    def __init__(self, feature_dim: int, text_dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(text_dim, feature_dim)
        self.block = NAFBlock(feature_dim)
        self.beta = nn.Parameter(torch.zeros(1, feature_dim, 1, 1))
        self.gamma = nn.Parameter(torch.zeros(1, feature_dim, 1, 1))

    def forward(self, x: Tensor, instruction: Tensor) -> Tensor:
        """Features (B, C, H, W) and embeddings (B, text_dim) to (B, C, H, W)."""
        gates = self.fc(instruction).sigmoid()[..., None, None]
        return self.block((x * self.gamma + self.beta) * gates) + x


@BACKBONES.register_module()
class InstructIR(NAFUNet):
    """InstructIR: a NAFNet with an `InstructionBlock` after every level.

    Args:
        img_channel: Channels of the picture.
        width: Channels of the first level; they double at every level down.
        middle_blk_num: Blocks at the lowest level.
        enc_blk_nums: Blocks of each level on the way down.
        dec_blk_nums: Blocks of each level on the way up, lowest first.
        txtdim: Length of the instruction's embedding.

    Raises:
        ConfigError: The two lists differ in length.
    """

    PUBLISHED: ClassVar[Mapping[str, Published]] = {
        "instructir": Published(
            {
                "width": 32,
                "middle_blk_num": 4,
                "enc_blk_nums": [2, 2, 4, 8],
                "dec_blk_nums": [2, 2, 2, 2],
                "txtdim": 256,
            },
            15.84,
        )
    }

    def __init__(
        self,
        img_channel: int = 3,
        width: int = 16,
        middle_blk_num: int = 1,
        enc_blk_nums: Sequence[int] = (),
        dec_blk_nums: Sequence[int] = (),
        txtdim: int = 768,
    ) -> None:
        super().__init__(NAFBlock, img_channel, img_channel, width, middle_blk_num, enc_blk_nums, dec_blk_nums)
        widths = [width * 2**level for level in range(len(enc_blk_nums))]
        self.enc_cond = nn.ModuleList(InstructionBlock(channels, txtdim) for channels in widths)
        self.dec_cond = nn.ModuleList(InstructionBlock(channels, txtdim) for channels in reversed(widths))
        self.text_dim = txtdim

    @classmethod
    @override
    def settings_of(cls, state: State) -> dict:
        """With the length of the embedding."""
        return {**super().settings_of(state), "txtdim": state["enc_cond.0.fc.weight"].shape[1]}

    def forward(self, inp: Tensor, txtembd: Tensor | None = None) -> Tensor:
        """Pictures restored as instructed.

        Args:
            inp: Pictures (B, img_channel, H, W) in [0, 1], H, W >= 1.
            txtembd: Embeddings of the instructions (B, txtdim); zeros by default, which open all gates alike but for
                their biases.

        Returns:
            (B, img_channel, H, W), not clipped.
        """
        height, width = inp.shape[-2:]
        text = inp.new_zeros(len(inp), self.text_dim) if txtembd is None else txtembd
        x = self.padded(inp)
        out = self.run(
            x,
            adapt_down=lambda level, features: self.enc_cond[level](features, text),
            adapt=lambda level, features: self.dec_cond[level](features, text),
        )
        return (out + x)[..., :height, :width]
