"""A restorer's network applied to images of any size: in tiles, in a chosen precision, within the memory there is."""

import functools
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn

from dtir.apis.restoring.contract import offer_of
from dtir.apis.restoring.precision import AUTO, EXACT, HALF, Choice, check_precision, measured_choice
from dtir.apis.restoring.wish import OnTile
from dtir.core.errors import ConfigError, ImageFileError
from dtir.core.memory import is_lack_of_memory
from dtir.imaging.rows import Rows
from dtir.imaging.self_ensemble import Restore, averaged_over_flips, averaged_over_symmetries
from dtir.imaging.tiled_rows import tiled_rows
from dtir.imaging.tiling import check_tiling

logger = logging.getLogger(__name__)

Result = TypeVar("Result")

AUTO_WHOLE_PIXELS = 1024 * 1024
AUTO_TILE = 512
# What is tried where the memory does not suffice.
FALLBACK_TILES = (1024, 512, 256, 128, 64)
LEAST_TILE = 64
# Share of a GPU's free memory that a batch of tiles may fill, and the most tiles of one: more gain nothing.
BATCH_SHARE, MOST_TILES = 0.6, 16


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
        precision: str = EXACT,
        self_ensemble: bool | None = None,
        batch_size: int | str = AUTO,
        compiled: bool = False,
    ) -> None:
        check_precision(precision)
        _check_batch(batch_size)
        self.offer = offer_of(restorer, device)
        self.traits = self.offer.traits
        _check_tile(tile, overlap, self.traits.size_multiple)
        self.tile, self.overlap, self.batch_size = tile, overlap, batch_size
        self.device = device
        # Where each tile is restored by itself, the whole picture is never needed.
        self.in_bands = self.offer.tiles_alone and tile is not None and self.traits.scale == 1
        restore = restorer.restore
        self._restore = functools.partial(averaged_over_symmetries, restore) if self_ensemble else restore
        self._flips_up_to = self.offer.flips_up_to if self_ensemble is None else 0
        self._tiles_that_fit: dict[tuple[int, ...], int] = {}
        # Why the precision is what it is; None where it was named.
        self.choice = self._chosen(restorer) if precision == AUTO else None
        self.precision = self._precise(precision) if self.choice is None else self.choice.precision
        if compiled:
            self._compile(restorer)

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
            return self._in_memory(image, step, on_tile, self.precision, notes)
        except _NotFiniteError as error:
            if self.precision == EXACT:
                raise ImageFileError(f"{error} The checkpoint may come from a run that diverged.") from error
            _note(notes, f"{error} {self.precision} was too coarse; restored again in float32.")
        try:
            return self._in_memory(image, step, on_tile, EXACT, notes)
        except _NotFiniteError as error:
            raise ImageFileError(f"{error} The checkpoint may come from a run that diverged.") from error

    def _in_memory(self, image: Tensor, step: int, on_tile: OnTile | None, precision: str, notes: list[str]) -> Tensor:
        def restore(tile: int | None, batch_size: int) -> Tensor:
            return self._in_tiles(image, step, on_tile, precision, tile, batch_size)

        return self._with_what_fits(restore, self._tile_for(image), image, step, notes)

    def _with_what_fits(
        self, work: Callable[[int | None, int], Result], tile: int | None, image: Tensor, step: int, notes: list[str]
    ) -> Result:
        """What `work(side of the tiles, tiles per call)` returns, with less of both until the memory suffices."""
        batch_size = 0
        while True:
            try:
                batch_size = batch_size or self._batch_for(image.shape[-2:], tile, step)
                return work(tile, batch_size)
            except (MemoryError, RuntimeError) as error:
                if not is_lack_of_memory(error):
                    raise
                less = self._less(image, tile, batch_size, notes)
                if less is None:
                    raise ImageFileError(_too_large(image, tile)) from error
            # Outside of the handler, which holds on to the tensors that did not fit.
            tile, batch_size = less

    def _in_tiles(
        self, image: Tensor, step: int, on_tile: OnTile | None, precision: str, tile: int | None, batch_size: int
    ) -> Tensor:
        flips = image.shape[-2] * image.shape[-1] <= self._flips_up_to
        restore = functools.partial(averaged_over_flips, self._restore) if flips else self._restore
        with torch.inference_mode():
            output = self.offer.apply_in_tiles(
                lambda tiles: self._restore_tiles(tiles, step, precision, restore),
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

        def tried(tile: int, batch_size: int) -> tuple[int, int]:
            self._restore_finite(torch.zeros(batch_size, 3, tile, tile, device=self.device), step, [])
            return tile, batch_size

        tile = AUTO_TILE if self.tile == "auto" else self.tile
        return self._with_what_fits(tried, tile, torch.empty(1, 3, *size, device="meta"), step, notes)

    def _restore_finite(self, tiles: Tensor, step: int, notes: list[str]) -> Tensor:
        try:
            return self._restore_tiles(tiles, step, self.precision)
        except _NotFiniteError as error:
            if self.precision == EXACT:
                raise ImageFileError(f"{error} The checkpoint may come from a run that diverged.") from error
            again = f"{error} {self.precision} was too coarse; some tiles were restored again in float32."
        if again not in notes:
            _note(notes, again)
        try:
            return self._restore_tiles(tiles, step, EXACT)
        except _NotFiniteError as error:
            raise ImageFileError(f"{error} The checkpoint may come from a run that diverged.") from error

    def _precise(self, precision: str) -> str:
        offered = self.offer.precisions
        if offered is not None and precision not in offered:
            raise ConfigError(f"precision='{precision}': this exported model runs in {' or '.join(offered)}.")
        if precision == EXACT or self.traits.half_precision:
            return precision
        logger.warning("this network is not exact enough in %s; float32 is used.", precision)
        return EXACT

    def _chosen(self, restorer: nn.Module) -> Choice:
        if not self.traits.half_precision:
            return Choice(EXACT, reason="this network is not exact enough in bf16")
        if self.offer.is_exported and HALF not in self.offer.precisions:
            return Choice(EXACT, reason="this runtime computes in nothing else here")
        if hasattr(restorer, "set_sampling"):
            return Choice(EXACT, reason="sampling in many steps is not measured; name bf16 to have it")
        return measured_choice(self._restore_tiles, restorer.matched_t.clamp(min=0).tolist(), self.device)

    def _compile(self, restorer: nn.Module) -> None:
        """Has the network compiled when it is first called.

        Raises:
            ConfigError: It is an exported model, or there is no compiler.
        """
        if self.offer.is_exported:
            raise ConfigError("an exported model is compiled by its runtime; leave out compiling.")
        compilers = (os.environ.get("CXX", ""), "g++", "clang++", "cl")
        if self.device.type == "cpu" and not any(map(shutil.which, compilers)):
            raise ConfigError("compiling for a CPU needs a C++ compiler, and none is here: install g++ or set CXX.")
        getattr(restorer, "network", restorer.backbone).compile()

    def _batch_for(self, size: tuple[int, int], tile: int | None, step: int) -> int:
        """Tiles per call: on a GPU as many as its free memory holds; on a CPU more than one gain nothing."""
        if self.batch_size != AUTO:
            return self.batch_size
        if self.device.type != "cuda" or tile is None:
            return 1
        side = tuple(min(tile, length) for length in size)
        if side not in self._tiles_that_fit:
            with torch.inference_mode():
                self._tiles_that_fit[side] = _tiles_that_fit(
                    lambda tiles: self._restore_tiles(tiles, step, self.precision), side, self.device
                )
        return self._tiles_that_fit[side]

    def _tile_for(self, image: Tensor) -> int | None:
        if self.tile != "auto":
            return self.tile
        return None if image.shape[-2] * image.shape[-1] <= AUTO_WHOLE_PIXELS else AUTO_TILE

    def _less(
        self, image: Tensor, tile: int | None, batch_size: int, notes: list[str]
    ) -> tuple[int | None, int] | None:
        """Side and number of tiles that need less memory: first single tiles, then smaller ones; None at the end."""
        if batch_size > 1:
            return tile, 1
        smaller = self._smaller_tile(image, tile)
        if smaller is None:
            return None
        _note(notes, f"not enough memory; restored in tiles of {smaller} pixels instead.")
        return smaller, 1

    def _smaller_tile(self, image: Tensor, tile: int | None) -> int | None:
        """The largest of the sizes to fall back to that is below what did not fit; None where there is none."""
        side = max(image.shape[-2:]) if tile is None else min(tile, max(image.shape[-2:]))
        least = max(LEAST_TILE, self.overlap + self.traits.size_multiple)
        return next((size for size in FALLBACK_TILES if least <= size < side), None)

    def _restore_tiles(self, tiles: Tensor, step: int, precision: str, restore: Restore | None = None) -> Tensor:
        t = torch.full((len(tiles),), step, dtype=torch.long, device=tiles.device)
        with self.offer.at_precision(precision):
            output = (restore or self._restore)(tiles.contiguous(), t).float()
        if not torch.isfinite(output).all():
            raise _NotFiniteError("the network's output has infinite or undefined values.")
        return output


class _NotFiniteError(Exception):
    """The output of a network cannot be a picture."""


def _tiles_that_fit(restore: Callable[[Tensor], Tensor], size: tuple[int, ...], device: torch.device) -> int:
    """How many tiles of a size a GPU's free memory holds, from what one takes."""
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    restore(torch.zeros(1, 3, *size, device=device))
    one = torch.cuda.max_memory_allocated(device) - before
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(MOST_TILES, int(BATCH_SHARE * free / max(one, 1))))


def _note(notes: list[str], text: str) -> None:
    logger.warning(text)
    notes.append(text)


def _check_batch(batch_size: int | str) -> None:
    if batch_size != AUTO and not (isinstance(batch_size, int) and batch_size >= 1):
        raise ConfigError(f"batch_size={batch_size!r}: at least one tile per call is needed, or 'auto'.")


def _check_tile(tile: int | str | None, overlap: int, multiple: int) -> None:
    if isinstance(tile, str) and tile != "auto":
        raise ConfigError(f"tile='{tile}' is neither a number of pixels nor 'auto'.")
    if tile is not None:
        check_tiling(AUTO_TILE if tile == "auto" else tile, overlap, multiple)


def _too_large(image: Tensor, tile: int | None) -> str:
    height, width = image.shape[-2:]
    return (
        f"not enough memory to restore {width} x {height} pixels, not even in tiles of {tile or 'the whole picture'}; "
        "end other programs, use another device, or make the picture smaller."
    )
