"""Tiles as in `dtir.imaging.tiling`, of a picture that is read and written in bands of rows, never whole in memory."""

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from dtir.imaging.rows import ROWS_AT_ONCE, Rows
from dtir.imaging.tiling import Span, blend_spans, check_tiling


@torch.no_grad()
def tiled_rows(
    fn: Callable[[Tensor], Tensor],
    rows: Rows,
    size: tuple[int, int],
    tile: int = 256,
    overlap: int = 32,
    batch_size: int = 1,
    multiple: int = 1,
    callback: Callable[[int, int], None] | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[Tensor]:
    """Applies `fn` tile by tile and hands the blended rows out as soon as no further tile changes them.

    The peak memory is two bands of the picture, each a tile high, plus what `fn` needs for a batch of tiles.

    Args:
        fn: Maps (k, 3, h, w) to the same shape.
        rows: Gives rows `start` to `stop` (exclusive) as float32 (stop - start, W, 3); called from top to bottom.
        size: Height and width of the picture.
        tile: As in `tiled_apply`.
        overlap: As in `tiled_apply`.
        batch_size: As in `tiled_apply`; a batch holds tiles of one band.
        multiple: As in `tiled_apply`.
        callback: As in `tiled_apply`.
        device: Where `fn` computes.

    Yields:
        (1, 3, h, W) float32 on the CPU; together the whole picture. It is overwritten when the next is asked for.

    Raises:
        ConfigError: the tiling cannot work, see `check_tiling`.
    """
    check_tiling(tile, overlap, multiple)
    down, across = (
        [span._replace(weight=span.weight.float()) for span in blend_spans(length, tile, overlap, multiple)]
        for length in size
    )
    highest = max(span.stop - span.start for span in down)
    seen, blended = (torch.zeros(1, 3, highest, size[1]) for _ in range(2))
    read, done = 0, 0
    for band, following in itertools.zip_longest(down, down[1:]):
        _fill(seen, rows, band, read)
        read = band.stop
        for batch in _batches(across, batch_size):
            _blend(fn, seen, blended, band, batch, device)
            done += len(batch)
            if callback is not None:
                callback(done, len(down) * len(across))
        finished = (following.start if following else band.stop) - band.start
        yield blended[:, :, :finished]
        _shift(seen, finished, band.stop - band.start)
        _shift(blended, finished, band.stop - band.start)
        blended[:, :, band.stop - band.start - finished :] = 0


def _fill(seen: Tensor, rows: Rows, band: Span, read: int) -> None:
    for start in range(read, band.stop, ROWS_AT_ONCE):
        stop = min(start + ROWS_AT_ONCE, band.stop)
        seen[0, :, start - band.start : stop - band.start] = torch.from_numpy(rows(start, stop)).permute(2, 0, 1)


def _batches(across: list[Span], batch_size: int) -> Iterator[list[Span]]:
    for _, same_width in itertools.groupby(across, key=lambda span: span.stop - span.start):
        group = list(same_width)
        yield from (group[i : i + batch_size] for i in range(0, len(group), batch_size))


def _blend(fn, seen: Tensor, blended: Tensor, band: Span, batch: list[Span], device: torch.device | str) -> None:
    height = band.stop - band.start
    stacked = torch.cat([seen[:, :, :height, span.start : span.stop] for span in batch]).to(device)
    for span, result in zip(batch, fn(stacked).cpu().float(), strict=True):
        window = blended[0, :, :height, span.start : span.stop]
        window.addcmul_(result * band.weight[:, None], span.weight)


def _shift(buffer: Tensor, by: int, height: int) -> None:
    """Moves what is below `by` rows to the top."""
    buffer[:, :, : height - by] = buffer[:, :, by:height].clone()
