"""A restorer's network applied to images of any size: in tiles, in a chosen precision, within the memory there is."""

import contextlib
import functools
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from dtir.apis.folder import OnTile
from dtir.core.errors import ConfigError, ImageFileError
from dtir.imaging.self_ensemble import averaged_over_symmetries
from dtir.imaging.tiling import check_tiling, tiled_apply

AUTO_WHOLE_PIXELS = 1024 * 1024
AUTO_TILE = 512
# For networks that do not declare theirs: the usual ones downsample four times by 2.
SIZE_MULTIPLE = 16
AMP_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class NetworkRunner:
    """Applies a restorer to images on the CPU; arguments as in `RestorationInferencer`.

    Raises:
        ConfigError: the tiling or the precision cannot be used.
    """

    def __init__(
        self,
        restorer: nn.Module,
        device: torch.device,
        tile: int | str | None = "auto",
        overlap: int = 32,
        amp: str | None = None,
        self_ensemble: bool = False,
        batch_size: int = 1,
    ) -> None:
        check_precision(amp)
        self.multiple = _size_multiple(restorer)
        _check_tile(tile, overlap, self.multiple)
        self.tile, self.overlap, self.batch_size = tile, overlap, batch_size
        self.device, self.amp = device, amp
        self._apply_in_tiles = getattr(restorer, "apply_in_tiles", tiled_apply)
        restore = restorer.restore
        self._restore = functools.partial(averaged_over_symmetries, restore) if self_ensemble else restore

    def restore(self, image: Tensor, step: int, on_tile: OnTile | None = None) -> Tensor:
        """An image (1, 3, H, W) in [0, 1] restored at one time step, clipped to [0, 1].

        Raises:
            ImageFileError: it does not fit into memory, or the network's output is not finite.
        """
        with torch.inference_mode(), _explain_out_of_memory(image, self.tile):
            output = self._apply_in_tiles(
                lambda tiles: self._restore_tiles(tiles, step),
                image,
                tile=self._tile_for(image),
                overlap=self.overlap,
                batch_size=self.batch_size,
                multiple=self.multiple,
                callback=on_tile,
                device=self.device,
            )
            return output.clamp_(0, 1)

    def _tile_for(self, image: Tensor) -> int | None:
        if self.tile != "auto":
            return self.tile
        return None if image.shape[-2] * image.shape[-1] <= AUTO_WHOLE_PIXELS else AUTO_TILE

    def _restore_tiles(self, tiles: Tensor, step: int) -> Tensor:
        t = torch.full((len(tiles),), step, dtype=torch.long, device=tiles.device)
        with self._precision():
            output = self._restore(tiles.contiguous(), t).float()
        if not torch.isfinite(output).all():
            hint = " Try without amp." if self.amp else " The checkpoint may come from a run that diverged."
            raise ImageFileError(f"the network's output has infinite or undefined values.{hint}")
        return output

    def _precision(self) -> contextlib.AbstractContextManager:
        if self.amp is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=AMP_DTYPES[self.amp])


def check_precision(amp: str | None) -> None:
    """Raises ConfigError for a name that is no precision."""
    if amp is not None and amp not in AMP_DTYPES:
        raise ConfigError(f"amp='{amp}' is not a precision; use one of {', '.join(AMP_DTYPES)}, or None.")


def _check_tile(tile: int | str | None, overlap: int, multiple: int) -> None:
    if isinstance(tile, str) and tile != "auto":
        raise ConfigError(f"tile='{tile}' is neither a number of pixels nor 'auto'.")
    if tile is not None:
        check_tiling(AUTO_TILE if tile == "auto" else tile, overlap, multiple)


def _size_multiple(restorer: nn.Module) -> int:
    """What tiles must start at multiples of, to lie on the grids of the network's lower levels."""
    return getattr(getattr(restorer, "backbone", None), "size_multiple", SIZE_MULTIPLE)


@contextlib.contextmanager
def _explain_out_of_memory(image: Tensor, tile: int | str | None) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch has an exception class for the memory of GPUs only.
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        height, width = image.shape[-2:]
        raise ImageFileError(
            f"not enough memory to restore {width} x {height} pixels with tile={tile}; use smaller tiles, such as 256."
        ) from error
