"""Pictures of every kind that callers hold: what goes in comes out as the same kind.

Each kind is opened into a `Held`: float32 RGB (1, 3, H, W) in [0, 1], and how to make the same kind of a restored one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from PIL.Image import Image

    Pictures = str | Path | Image | np.ndarray | Tensor | list

# Resampling and colour management leave values slightly outside of [0, 1]; far outside, the range is another.
OVERSHOOT = 0.1
# Of ITU-R BT.601, as files are made grey.
LUMA = (0.299, 0.587, 0.114)
_PEAKS = {torch.uint8: 255, torch.uint16: 65535}
_PIL_MODES = ("L", "LA", "RGB", "RGBA")


class Held(NamedTuple):
    """A picture (1, 3, H, W) in [0, 1], `close(restored) -> the caller's kind`, and `leave() -> a copy of it`."""

    image: Tensor
    close: Callable[[Tensor], object]
    leave: Callable[[], object]


def open_picture(x: "str | Path | Image | np.ndarray | Tensor") -> list[Held]:
    """Opens one picture, or a batch of arrays or of tensors, whose pictures come one by one.

    Args:
        x: A path; a PIL image; an array (H, W), (H, W, C) or (B, H, W, C); or a tensor (H, W), (C, H, W) or
            (B, C, H, W). C is 1 (grey), 2 (grey and opacity), 3 (RGB) or 4 (RGB and opacity). Values are uint8, uint16,
            or floating point in [0, 1], of which small overshoots are clipped.

    Raises:
        ValueError: The shape, the type or the range is none of these.
        ImageFileError: A file cannot be read.
    """
    if isinstance(x, str | Path):
        return [_open_path(x)]
    if isinstance(x, np.ndarray):
        return [_open_array(picture) for picture in (x if x.ndim == 4 else [x])]
    if isinstance(x, Tensor):
        return [_open_tensor(picture) for picture in (x if x.ndim == 4 else [x])]
    if hasattr(x, "mode") and hasattr(x, "convert"):
        return [_open_pil(x)]
    raise ValueError(
        f"expected a path, a PIL image, a NumPy array, a torch tensor, or a list of these; got {type(x).__name__}."
    )


def close_all(x: "str | Path | Image | np.ndarray | Tensor", closed: list) -> object:
    """The restored pictures of `open_picture(x)` together as what `x` is."""
    if isinstance(x, np.ndarray) and x.ndim == 4:
        return np.stack(closed) if closed else x.copy()
    if isinstance(x, Tensor) and x.ndim == 4:
        return torch.stack(closed) if closed else x.clone()
    return closed[0]


def open_mask(mask: "str | Path | Image | np.ndarray | Tensor") -> Tensor:
    """A mask of any kind as (H, W) bool: True where it is white, or at least half as bright.

    White of whole numbers is 1 where none is larger.

    Raises:
        ValueError, ImageFileError: See `open_picture`; or it is a batch.
    """
    if isinstance(mask, np.ndarray | Tensor):
        values = _as_tensor(mask) if isinstance(mask, np.ndarray) else mask
        # Comparisons are not there for unsigned 16 bits.
        if not values.is_floating_point() and values.numel() and int(values.long().max()) <= 1:
            mask = mask != 0
            mask = mask * np.uint8(255) if isinstance(mask, np.ndarray) else mask.to(torch.uint8) * 255
    held = open_picture(mask)
    if len(held) != 1:
        raise ValueError(f"a mask is one picture; got {len(held)}.")
    return held[0].image[0].mean(0) >= 0.5


def _open_path(path: str | Path) -> Held:
    from PIL import Image

    from dtir.imaging.files import read_picture

    picture = read_picture(path)
    image = torch.from_numpy(picture.rgb).permute(2, 0, 1)[None]

    def close(restored: Tensor) -> "Image.Image":
        rgb = Image.fromarray(_to_array(restored, torch.uint8).numpy())
        made = rgb.convert("L") if bool((image == image[:, :1]).all()) else rgb
        if picture.alpha is not None:
            opacity = np.rint(picture.alpha * (255 / picture.form.peak)).astype(np.uint8)
            made.putalpha(Image.fromarray(opacity).resize(made.size))
        return made

    return Held(image, close, lambda: close(image))


def _open_pil(picture: "Image") -> Held:
    from PIL import Image

    if picture.mode in ("I", "F"):
        raise ValueError(
            f"a PIL image of mode {picture.mode} does not say which value is white; give an array of uint8, uint16, or "
            "floating point in [0, 1]."
        )
    if picture.mode in _PIL_MODES or picture.mode.startswith("I;16"):
        same = picture
    else:
        same = picture.convert("RGBA" if _is_transparent(picture) else "RGB")
    held = _open_array(np.asarray(same))

    def close(restored: Tensor) -> "Image.Image":
        made = Image.fromarray(held.close(restored))
        made.info = dict(picture.info)
        return made

    return Held(held.image, close, picture.copy)


def _is_transparent(picture: "Image") -> bool:
    return picture.mode == "PA" or "transparency" in picture.info


def _open_array(array: np.ndarray) -> Held:
    values = array[:, :, None] if array.ndim == 2 else array
    if values.ndim != 3 or values.shape[2] not in (1, 2, 3, 4) or values.size == 0:
        raise ValueError(
            f"expected an array (H, W), (H, W, C) or (B, H, W, C) with 1 to 4 channels, got shape {array.shape}."
        )
    held = _open_channels(_as_tensor(values).permute(2, 0, 1))

    def close(restored: Tensor) -> np.ndarray:
        made = held.close(restored).permute(1, 2, 0).numpy().astype(array.dtype, copy=False)
        return np.ascontiguousarray(made[:, :, 0] if array.ndim == 2 else made)

    return Held(held.image, close, array.copy)


def _as_tensor(values: np.ndarray) -> Tensor:
    """A copy of an array, whatever the order of its bytes."""
    try:
        return torch.from_numpy(values.astype(values.dtype.newbyteorder("=")))
    except TypeError:
        raise ValueError(f"expected uint8, uint16 or floating point, got {values.dtype}.") from None


def _open_tensor(tensor: Tensor) -> Held:
    values = tensor[None] if tensor.ndim == 2 else tensor
    if values.ndim != 3 or values.shape[0] not in (1, 2, 3, 4) or values.numel() == 0:
        raise ValueError(
            "expected a tensor (H, W), (C, H, W) or (B, C, H, W) with 1 to 4 channels, got shape "
            f"{tuple(tensor.shape)}."
        )
    held = _open_channels(values.detach().cpu())

    def close(restored: Tensor) -> Tensor:
        made = held.close(restored).to(tensor.device)
        return made[0] if tensor.ndim == 2 else made

    return Held(held.image, close, tensor.clone)


def _open_channels(values: Tensor) -> Held:
    """Opens (C, H, W) on the CPU; closed, it is of the same type, its opacity as it was."""
    colours = 1 if values.shape[0] < 3 else 3
    unit = _unit(values[:colours], values.dtype)
    image = unit.expand(3, -1, -1)[None].contiguous()

    def close(restored: Tensor) -> Tensor:
        colour = restored[0] if colours == 3 else (restored[0] * torch.tensor(LUMA)[:, None, None]).sum(0, True)
        return torch.cat([_from_unit(colour, values.dtype), _of_size(values[colours:], colour.shape[-2:])])

    return Held(image, close, values.clone)


def _of_size(channels: Tensor, size: torch.Size) -> Tensor:
    """Channels (K, H, W) beside the colours, resized where the restored picture is larger."""
    if not len(channels) or channels.shape[-2:] == size:
        return channels if len(channels) else channels.new_empty(0, *size)
    resized = F.interpolate(channels[None].double(), size, mode="bilinear")[0]
    return (resized if channels.is_floating_point() else resized.round()).to(channels.dtype)


def _unit(values: Tensor, dtype: torch.dtype) -> Tensor:
    if dtype in _PEAKS:
        return values.float() / _PEAKS[dtype]
    if not dtype.is_floating_point:
        raise ValueError(f"expected uint8, uint16 or floating point, got {str(dtype).removeprefix('torch.')}.")
    values = values.float()
    low, high = float(values.min()), float(values.max())
    # Written so that NaN is refused too.
    if not (low >= -OVERSHOOT and high <= 1 + OVERSHOOT):
        hint = " Divide by 255, or convert to uint8." if 2 < high <= 255 else ""
        raise ValueError(f"expected floating-point values in [0, 1], got {low:g} to {high:g}.{hint}")
    return values.clamp(0, 1)


def _from_unit(values: Tensor, dtype: torch.dtype) -> Tensor:
    values = values.clamp(0, 1)
    if dtype in _PEAKS:
        return (values * _PEAKS[dtype]).round().to(dtype)
    return values.to(dtype)


def _to_array(restored: Tensor, dtype: torch.dtype) -> Tensor:
    return _from_unit(restored[0], dtype).permute(1, 2, 0).contiguous()
