"""DA-CLIP (Luo et al., "Controlling Vision-Language Models for Multi-Task Image Restoration", ICLR 2024): CLIP with a
controller on its image tower, with the published state-dict keys. The towers are those of the library open_clip.

The controller is a copy of the image tower that reads the damage. After every layer it also gives features, through a
linear layer that starts at zero; added to the layers of the image tower, the last to the first, they make it see the
clean content.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF

from dtir.core.checkpoint import load_checkpoint, load_state
from dtir.core.errors import CheckpointError
from dtir.core.extras import needs_extra
from dtir.models.backbones.parts.reading import count, root
from dtir.models.backbones.traits import ValueRange

# Channels of one attention head, in all of CLIP's vision transformers and their text towers.
HEAD_DIM = 64
CLIP_RANGE = ValueRange((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))


class ControlTransformer(nn.Module):
    """A transformer that also gives features of every layer.

    Args:
        transformer: open_clip's, of an image tower.

    Attributes:
        features: Features of the layers in the latest call, first to last.
    """

    def __init__(self, transformer: nn.Module) -> None:
        super().__init__()
        self.transformer = transformer
        width = transformer.width
        self.zero_modules = nn.ModuleList(nn.Linear(width, width) for _ in transformer.resblocks)
        for parameter in self.zero_modules.parameters():
            nn.init.zeros_(parameter)
        self.features: list[Tensor] = []

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Tokens (B, N, C) to the same shape."""
        seen: list[Tensor] = []
        with _hooked(self.transformer.resblocks, [lambda out: seen.append(out)] * len(self.zero_modules)):
            tokens = self.transformer(x, attn_mask=attn_mask)
        self.features = [project(out) for project, out in zip(self.zero_modules, seen, strict=True)]
        return tokens


class DACLIP(nn.Module):
    """CLIP with a controller, which at first changes nothing.

    Args:
        clip: open_clip's `CLIP` with a vision transformer.
    """

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        self.clip = clip
        self.visual = clip.visual
        self.visual_control = copy.deepcopy(clip.visual)
        self.visual_control.transformer = ControlTransformer(self.visual_control.transformer)
        self.logit_scale = nn.Parameter(clip.logit_scale.detach().clone())

    @property
    def dim(self) -> int:
        """Length of the embeddings."""
        return self.clip.text_projection.shape[1]

    def embed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings of the content and of the damage, (B, dim) each and of any length.

        Args:
            x: What `prepared` makes of pictures, (B, 3, S, S).
        """
        damage = self.visual_control(x)
        # Bound each by a default: the last layer's features go to the first layer.
        steer = [lambda out, given=given: out + given for given in reversed(self.visual_control.transformer.features)]
        with _hooked(self.visual.transformer.resblocks, steer):
            return self.visual(x), damage

    def prepared(self, pictures: Tensor) -> Tensor:
        """Pictures (B, 3, H, W) in [0, 1] as the published code shows them to CLIP, (B, 3, S, S): in 8 bits, their
        shorter side resized to S, and the middle of them."""
        side = self.visual.image_size[0]
        seen = []
        for picture in pictures.detach().float().clamp(0, 1).mul(255).to(torch.uint8).cpu():
            small = TF.resize(TF.to_pil_image(picture), side, InterpolationMode.BICUBIC)
            seen.append(TF.to_tensor(TF.center_crop(small, [side, side])))
        return CLIP_RANGE.encode(torch.stack(seen)).to(pictures.device)

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Embeddings (N, dim) of length 1 of short texts, such as "rainy"."""
        tokens = _open_clip().tokenize(list(texts), self.clip.context_length)
        return self.clip.encode_text(tokens.to(self.logit_scale.device), normalize=True)


class DamageReader(nn.Module):
    """Tells the damage of a picture by which word its embedding is most like, as an estimator of the task.

    Args:
        daclip: Reads pictures and words.
        classes: Names of the tasks.
        texts: The word for each.
    """

    least_confidence = 0.0
    # It knows no clean pictures, and would find some damage in any.
    most_passes = 1
    # What it finds is what the restorer sees by itself at this step.
    step = 0

    def __init__(self, daclip: DACLIP, classes: Sequence[str], texts: Sequence[str]) -> None:
        super().__init__()
        self.daclip, self.classes = daclip, tuple(classes)
        with torch.no_grad():
            self.register_buffer("words", daclip.embed_texts(texts), persistent=False)

    def forward(self, lq: Tensor) -> Tensor:
        """Degraded pictures (B, 3, H, W) in [0, 1] to logits (B, classes)."""
        damage = self.daclip.embed(self.daclip.prepared(lq))[1]
        return self.daclip.logit_scale.exp() * F.normalize(damage, dim=1) @ self.words.T


@contextmanager
def _hooked(blocks: Iterable[nn.Module], changes: Iterable[Callable[[Tensor], Tensor | None]]) -> Iterator[None]:
    """Lets functions see and change the output of blocks, for the time of a `with` statement."""
    handles = [
        block.register_forward_hook(lambda _, args, out, change=change: change(out))
        for block, change in zip(blocks, changes, strict=True)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def settings_of(state: Mapping[str, Tensor]) -> dict[str, object]:
    """The arguments of open_clip's `CLIP` for the published keys and shapes.

    Raises:
        KeyError: The keys are another model's.
    """
    vision, patch = state["clip.visual.conv1.weight"].shape[0], state["clip.visual.conv1.weight"].shape[-1]
    length, text = state["clip.positional_embedding"].shape
    return {
        "embed_dim": state["clip.text_projection"].shape[1],
        "vision_cfg": {
            "image_size": patch * root(len(state["clip.visual.positional_embedding"]) - 1),
            "patch_size": patch,
            "width": vision,
            "layers": count(state, "clip.visual.transformer.resblocks."),
            "head_width": HEAD_DIM,
        },
        "text_cfg": {
            "context_length": length,
            "vocab_size": len(state["clip.token_embedding.weight"]),
            "width": text,
            "heads": max(1, text // HEAD_DIM),
            "layers": count(state, "clip.transformer.resblocks."),
        },
    }


def read_daclip(path: str | Path) -> DACLIP:
    """The model of a published checkpoint, `daclip_ViT-B-32.pt`, whose sizes are told by its keys.

    Raises:
        CheckpointError: It cannot be read, or is another model's.
        MissingExtraError: open_clip is not installed.
    """
    checkpoint = load_checkpoint(path)
    state = checkpoint.get("state_dict", checkpoint)
    state = {str(key).removeprefix("module."): value for key, value in state.items()}
    try:
        settings = settings_of(state)
    except (KeyError, AttributeError) as error:
        raise CheckpointError(
            f"'{path}' is no DA-CLIP model, such as the published daclip_ViT-B-32.pt: it has no {error}."
        ) from error
    model = DACLIP(_open_clip().CLIP(**settings))
    load_state(model, state, path)
    return model.eval().requires_grad_(False)


def _open_clip() -> ModuleType:
    with needs_extra("DA-CLIP's image tower", "language"):
        import open_clip
    return open_clip
