"""A restorer's network applied to images of any size: in tiles, in a chosen precision, within the memory there is."""

import contextlib
import functools
import logging
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from dtir.apis.folder import OnTile
from dtir.core.errors import ConfigError, ImageFileError
from dtir.imaging.rows import Rows
from dtir.imaging.self_ensemble import averaged_over_symmetries
from dtir.imaging.tiled_rows import tiled_rows
from dtir.imaging.tiling import check_tiling, tiled_apply
from dtir.models.backbones.traits import Traits, traits_of

logger = logging.getLogger(__name__)

AUTO_WHOLE_PIXELS = 1024 * 1024
AUTO_TILE = 512
# What is tried where the memory does not suffice.
FALLBACK_TILES = (1024, 512, 256, 128, 64)
LEAST_TILE = 64
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
        own = getattr(restorer, "traits", None)
        self.traits = own if isinstance(own, Traits) else traits_of(getattr(restorer, "backbone", restorer))
        _check_tile(tile, overlap, self.traits.size_multiple)
        self.tile, self.overlap, self.batch_size = tile, overlap, batch_size
        self.device, self.amp = device, self._precise(amp)
        self._apply_in_tiles = getattr(restorer, "apply_in_tiles", tiled_apply)
        # Whether each tile is restored by itself, so that the whole picture is never needed.
        alone = getattr(restorer, "tiles_alone", not hasattr(restorer, "apply_in_tiles"))
        self.in_bands = alone and tile is not None and self.traits.scale == 1
        restore = restorer.restore
        self._restore = functools.partial(averaged_over_symmetries, restore) if self_ensemble else restore

    def restore(
        self, image: Tensor, step: int, on_tile: OnTile | None = None, notes: list[str] | None = None
    ) -> Tensor:
        """An image (1, 3, H, W) in [0, 1] restored at one time step, clipped to [0, 1].

        Where the memory does not suffice, smaller tiles are tried, down to 64 pixels; where half precision gives values
        that are not finite, the image is restored again in float32. Both are logged, and added to `notes`.

        Raises:
            ImageFileError: it does not fit into memory, or the network's output is not finite.
        """
        notes = [] if notes is None else notes
        try:
            return self._in_memory(image, step, on_tile, self.amp, notes)
        except _NotFiniteError as error:
            if self.amp is None:
                raise ImageFileError(f"{error} The checkpoint may come from a run that diverged.") from error
            _note(notes, f"{error} {self.amp} was too coarse; restored again in float32.")
        try:
            return self._in_memory(image, step, on_tile, None, notes)
        except _NotFiniteError as error:
            raise ImageFileError(f"{error} The checkpoint may come from a run that diverged.") from error

    def _in_memory(self, image: Tensor, step: int, on_tile: OnTile | None, amp: str | None, notes: list[str]) -> Tensor:
        tile, batch_size = self._tile_for(image), self.batch_size
        while True:
            try:
                return self._in_tiles(image, step, on_tile, amp, tile, batch_size)
            except (MemoryError, RuntimeError) as error:
                if not _is_lack_of_memory(error):
                    raise
                smaller = self._smaller_tile(image, tile)
                if smaller is None:
                    raise ImageFileError(_too_large(image, tile)) from error
            # Outside of the handler, which holds on to the tensors that did not fit.
            tile, batch_size = smaller, 1
            _note(notes, f"not enough memory; restored in tiles of {tile} pixels instead.")

    def _in_tiles(
        self, image: Tensor, step: int, on_tile: OnTile | None, amp: str | None, tile: int | None, batch_size: int
    ) -> Tensor:
        with torch.inference_mode():
            output = self._apply_in_tiles(
                lambda tiles: self._restore_tiles(tiles, step, amp),
                image,
                tile=tile,
                overlap=self.overlap,
                batch_size=batch_size,
                multiple=self.traits.size_multiple,
                callback=on_tile,
                device=self.device,
            )
            return output.clamp_(0, 1)

    def restore_rows(
        self,
        rows: Rows,
        size: tuple[int, int],
        step: int,
        on_tile: OnTile | None = None,
        notes: list[str] | None = None,
    ) -> Iterator[Tensor]:
        """As `restore`, of a picture that is read in rows and handed out in bands (1, 3, h, W), see `tiled_rows`.

        Smaller tiles are tried before the first band; only tiles that are not finite are restored again in float32.

        Raises:
            ImageFileError: see `restore`.
        """
        notes = [] if notes is None else notes
        with torch.inference_mode():
            tile, batch_size = self._fitting_tile(size, step, notes)
            bands = tiled_rows(
                lambda tiles: self._restore_finite(tiles, step, notes),
                rows,
                size,
                tile=tile,
                overlap=self.overlap,
                batch_size=batch_size,
                multiple=self.traits.size_multiple,
                callback=on_tile,
                device=self.device,
            )
            for band in bands:
                yield band.clamp_(0, 1)

    def _fitting_tile(self, size: tuple[int, int], step: int, notes: list[str]) -> tuple[int, int]:
        """Side and number of tiles for which the memory suffices, found by trying."""
        tile, batch_size = AUTO_TILE if self.tile == "auto" else self.tile, self.batch_size
        image = torch.empty(1, 3, *size, device="meta")
        while True:
            try:
                self._restore_finite(torch.zeros(batch_size, 3, tile, tile, device=self.device), step, [])
                return tile, batch_size
            except (MemoryError, RuntimeError) as error:
                if not _is_lack_of_memory(error):
                    raise
                smaller = self._smaller_tile(image, tile)
                if smaller is None:
                    raise ImageFileError(_too_large(image, tile)) from error
            tile, batch_size = smaller, 1
            _note(notes, f"not enough memory; restored in tiles of {tile} pixels instead.")

    def _restore_finite(self, tiles: Tensor, step: int, notes: list[str]) -> Tensor:
        try:
            return self._restore_tiles(tiles, step, self.amp)
        except _NotFiniteError as error:
            if self.amp is None:
                raise ImageFileError(f"{error} The checkpoint may come from a run that diverged.") from error
            again = f"{error} {self.amp} was too coarse; some tiles were restored again in float32."
        if again not in notes:
            _note(notes, again)
        try:
            return self._restore_tiles(tiles, step, None)
        except _NotFiniteError as error:
            raise ImageFileError(f"{error} The checkpoint may come from a run that diverged.") from error

    def _precise(self, amp: str | None) -> str | None:
        if amp is None or self.traits.half_precision:
            return amp
        logger.warning("this network is not exact enough in %s; float32 is used.", amp)
        return None

    def _tile_for(self, image: Tensor) -> int | None:
        if self.tile != "auto":
            return self.tile
        return None if image.shape[-2] * image.shape[-1] <= AUTO_WHOLE_PIXELS else AUTO_TILE

    def _smaller_tile(self, image: Tensor, tile: int | None) -> int | None:
        """The largest of the sizes to fall back to that is below what did not fit; None where there is none."""
        side = max(image.shape[-2:]) if tile is None else min(tile, max(image.shape[-2:]))
        least = max(LEAST_TILE, self.overlap + self.traits.size_multiple)
        return next((size for size in FALLBACK_TILES if least <= size < side), None)

    def _restore_tiles(self, tiles: Tensor, step: int, amp: str | None) -> Tensor:
        t = torch.full((len(tiles),), step, dtype=torch.long, device=tiles.device)
        with _precision(self.device, amp):
            output = self._restore(tiles.contiguous(), t).float()
        if not torch.isfinite(output).all():
            raise _NotFiniteError("the network's output has infinite or undefined values.")
        return output


class _NotFiniteError(Exception):
    """The output of a network cannot be a picture."""


def _precision(device: torch.device, amp: str | None) -> contextlib.AbstractContextManager:
    return contextlib.nullcontext() if amp is None else torch.autocast(device.type, dtype=AMP_DTYPES[amp])


def _note(notes: list[str], text: str) -> None:
    logger.warning(text)
    notes.append(text)


def check_precision(amp: str | None) -> None:
    """Raises ConfigError for a name that is no precision."""
    if amp is not None and amp not in AMP_DTYPES:
        raise ConfigError(f"amp='{amp}' is not a precision; use one of {', '.join(AMP_DTYPES)}, or None.")


def _check_tile(tile: int | str | None, overlap: int, multiple: int) -> None:
    if isinstance(tile, str) and tile != "auto":
        raise ConfigError(f"tile='{tile}' is neither a number of pixels nor 'auto'.")
    if tile is not None:
        check_tiling(AUTO_TILE if tile == "auto" else tile, overlap, multiple)


def _is_lack_of_memory(error: MemoryError | RuntimeError) -> bool:
    # torch has an exception class for the memory of GPUs only.
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _too_large(image: Tensor, tile: int | None) -> str:
    height, width = image.shape[-2:]
    return (
        f"not enough memory to restore {width} x {height} pixels, not even in tiles of {tile or 'the whole picture'}; "
        "end other programs, use another device, or make the picture smaller."
    )
