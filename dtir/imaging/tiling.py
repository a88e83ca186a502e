"""Applies an image-to-image function to a large picture in overlapping, blended tiles.

Tiles are read from and blended into tensors that may stay on the CPU, so the device holds only a batch of tiles. Along
each axis the blending weights are a partition of unity known in closed form; the weight of a pixel is the product of
its row's and its column's, so no image of accumulated weights is kept.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from dtir.core.errors import ConfigError

# Over the length of a tile.
GAUSSIAN_DEVIATION = 0.1
BLENDS = ("cosine", "gaussian")


class Span(NamedTuple):
    """One tile along one axis: pixels `start` to `stop` (exclusive) and their blending weights, (stop - start,)."""

    start: int
    stop: int
    weight: Tensor

    def scaled(self, scale: int) -> "Span":
        """The same of a picture that is `scale` times as long."""
        return Span(scale * self.start, scale * self.stop, self.weight.repeat_interleave(scale))


class _Tile(NamedTuple):
    rows: Span
    columns: Span

    @property
    def size(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def scaled(self, scale: int) -> "_Tile":
        return self if scale == 1 else _Tile(self.rows.scaled(scale), self.columns.scaled(scale))

    @property
    def window(self) -> tuple:
        return ..., slice(self.rows.start, self.rows.stop), slice(self.columns.start, self.columns.stop)


def check_tiling(tile: int, overlap: int, multiple: int = 1) -> None:
    """Checks that tiles of this size and overlap can cover an image.

    Raises:
        ConfigError: a value is out of range, or neighbouring tiles would not advance by at least `multiple` pixels.
    """
    if tile < 1 or overlap < 0 or multiple < 1:
        raise ConfigError(
            f"tile={tile}, overlap={overlap}, multiple={multiple}: tile and multiple must be at least 1 pixel and "
            "overlap must not be negative."
        )
    if tile - overlap < multiple:
        raise ConfigError(
            f"tile={tile} with overlap={overlap}: each tile must advance by at least {multiple} pixel(s). "
            f"Use a tile of at least {overlap + multiple}, or an overlap of at most {max(tile - multiple, 0)}."
        )


def tile_starts(length: int, tile: int, overlap: int, multiple: int = 1) -> list[int]:
    """First pixels of the fewest evenly spread tiles that cover `length` pixels with at least `overlap` in common.

    All starts are multiples of `multiple`; the last tile is shifted inside the image, never padded (it may be shorter
    than `tile` by less than `multiple`).
    """
    if tile >= length:
        return [0]
    last = math.ceil((length - tile) / multiple)
    steps = math.ceil(last / ((tile - overlap) // multiple))
    return [multiple * (i * last // steps) for i in range(steps + 1)]


def blend_spans(length: int, tile: int, overlap: int, multiple: int = 1, blend: str = "cosine") -> list[Span]:
    """Tiles along one axis with float64 weights in [0, 1] that sum to 1 at every pixel.

    With `blend="gaussian"` a tile weighs as a Gaussian around its middle, with a tenth of its length for a standard
    deviation, over the sum of all tiles' there (Jimenez, "Mixture of Diffusers", 2023).

    With "cosine", from tile to tile the weight passes over in a raised cosine, `overlap / 2` wide in the middle of the
    pixels that the two share. So at least `overlap / 4` pixels at every inner tile edge have no weight: a function that
    looks no further than that around a pixel gives exactly its untiled output, and others have their edge error blended
    out.
    """
    starts = tile_starts(length, tile, overlap, multiple)
    stops = [min(start + tile, length) for start in starts]
    if blend == "gaussian":
        return _gaussian_spans(length, starts, stops)
    seams = [(start + stop) / 2 for start, stop in zip(starts[1:], stops[:-1], strict=True)]
    # The share that has passed to tile i + 1 and later; w_i = r_(i-1) - r_i telescopes to a sum of exactly 1.
    pixels = torch.arange(length, dtype=torch.float64) + 0.5
    passed = [torch.ones(length, dtype=torch.float64)]
    passed += [_cosine_step(pixels - seam, max(overlap / 2, 1)) for seam in seams]
    passed += [torch.zeros(length, dtype=torch.float64)]
    weights = [before - after for before, after in itertools.pairwise(passed)]
    return [Span(a, b, w[a:b]) for a, b, w in zip(starts, stops, weights, strict=True)]


def _gaussian_spans(length: int, starts: list[int], stops: list[int]) -> list[Span]:
    pixels = torch.arange(length, dtype=torch.float64)
    exponents = torch.full((len(starts), length), -torch.inf, dtype=torch.float64)
    for exponent, start, stop in zip(exponents, starts, stops, strict=True):
        distance = (pixels[start:stop] - (start + stop - 1) / 2) / (stop - start)
        exponent[start:stop] = -(distance**2) / (2 * GAUSSIAN_DEVIATION**2)
    weights = exponents.softmax(0)
    return [Span(a, b, w[a:b]) for a, b, w in zip(starts, stops, weights, strict=True)]


def _cosine_step(distance: Tensor, width: float) -> Tensor:
    """Rises from 0 to 1 over `width` around distance 0."""
    return 0.5 - 0.5 * torch.cos(math.pi * (distance / width + 0.5).clamp(0, 1))


@torch.no_grad()
def tiled_apply(
    fn: Callable[[Tensor], Tensor],
    image: Tensor,
    tile: int | None = 256,
    overlap: int = 32,
    batch_size: int = 1,
    multiple: int = 1,
    callback: Callable[[int, int], None] | None = None,
    device: torch.device | str | None = None,
    blend: str = "cosine",
) -> Tensor:
    """Applies `fn` tile by tile and blends the results; for inference, without gradients.

    Above the image itself the peak memory is one output image plus what `fn` needs for a batch of tiles.

    Args:
        fn: Maps (k * B, C, h, w) to the same shape, or to one that is s times as high and as wide. Its rows i * B to
            (i + 1) * B are one tile of the B images, so a per-image argument v of shape (B,) becomes
            `v.repeat(len(tiles) // B)` inside `fn`.
        image: (B, C, H, W), floating point, on any device.
        tile: Side of a tile in pixels; None, or a tile no smaller than the image, is one call on the whole image. In a
            dimension in which the image is smaller than the tile, the tile is as large as the image.
        overlap: Pixels that neighbouring tiles share at least.
        batch_size: Tiles per call of `fn`.
        multiple: Tiles start at multiples of this. Set it to the factor by which a network downsamples, since such a
            network commutes only with shifts by that factor.
        callback: Called as `callback(tiles done, tiles in all)` after each call of `fn`.
        device: Where tiles are moved before each call; None leaves them on the image's device.
        blend: Weights of the tiles where they overlap, "cosine" or "gaussian", see `blend_spans`.

    Returns:
        (B, C, s H, s W) on the image's device, float32 (float64 for a float64 image).

    Raises:
        ConfigError: the tiling cannot work, see `check_tiling`.
        ValueError: `image` is not a 4-D floating-point tensor, or `fn` changes the shape of a tile
            otherwise.
    """
    if image.ndim != 4 or not image.is_floating_point():
        raise ValueError(f"expected a floating-point image (B, C, H, W), got {image.dtype} {tuple(image.shape)}.")
    if batch_size < 1:
        raise ConfigError(f"batch_size={batch_size}: at least one tile per call is needed.")
    if tile is None:
        tile = max(image.shape[-2:])
    else:
        check_tiling(tile, overlap, multiple)
    dtype = torch.promote_types(image.dtype, torch.float32)
    tiles = _tiles(image, tile, overlap, multiple, dtype, blend)
    device = image.device if device is None else device
    if len(tiles) == 1:
        output = _call(fn, image.to(device)).to(image.device, dtype)
        _report(callback, 1, 1)
        return output
    output, done = None, 0
    for batch in _batches(tiles, batch_size):
        stacked = torch.cat([image[t.window] for t in batch]).to(device)
        results = _call(fn, stacked).to(image.device, dtype)
        scale = results.shape[-1] // stacked.shape[-1]
        if output is None:
            output = image.new_zeros(*image.shape[:2], *(scale * side for side in image.shape[2:]), dtype=dtype)
        for t, result in zip(batch, results.chunk(len(batch)), strict=True):
            t = t.scaled(scale)
            output[t.window].addcmul_(result * t.rows.weight[:, None], t.columns.weight)
        done += len(batch)
        _report(callback, done, len(tiles))
    return output


def _tiles(image: Tensor, tile: int, overlap: int, multiple: int, dtype: torch.dtype, blend: str) -> list[_Tile]:
    """The tiles row by row, those of equal size after one another."""
    rows, columns = (
        [
            s._replace(weight=s.weight.to(image.device, dtype))
            for s in blend_spans(length, tile, overlap, multiple, blend)
        ]
        for length in image.shape[-2:]
    )
    tiles = [_Tile(r, c) for r, c in itertools.product(rows, columns)]
    return sorted(tiles, key=lambda t: t.size, reverse=True)


def _batches(tiles: list[_Tile], batch_size: int) -> Iterator[list[_Tile]]:
    for _, same_size in itertools.groupby(tiles, key=lambda t: t.size):
        group = list(same_size)
        yield from (group[i : i + batch_size] for i in range(0, len(group), batch_size))


def _call(fn: Callable[[Tensor], Tensor], tiles: Tensor) -> Tensor:
    result = fn(tiles)
    scale = max(result.shape[-1] // tiles.shape[-1], 1)
    if result.shape != (*tiles.shape[:2], *(scale * side for side in tiles.shape[2:])):
        raise ValueError(
            f"the function changed the shape of a tile from {tuple(tiles.shape)} to {tuple(result.shape)}."
        )
    return result


def _report(callback: Callable[[int, int], None] | None, done: int, total: int) -> None:
    if callback is not None:
        callback(done, total)
