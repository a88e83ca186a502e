"""Pictures that are too large for memory, restored in passes from one file of rows into the next."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from dtir.apis.restoring.outcome import BLANK, Estimate, Outcome, Pass
from dtir.apis.restoring.passes import PassRestorer
from dtir.apis.restoring.wish import OnTile, Wish
from dtir.imaging.files import samples
from dtir.imaging.opening import Source
from dtir.imaging.picture import Form
from dtir.imaging.rows import ROWS_AT_ONCE, RowFile, Rows, SourceRows
from dtir.models.estimator import SIDE

if TYPE_CHECKING:
    import pyvips


class LargePage:
    """One page of a file, restored in bands of rows: the same passes as `PassRestorer.restore` makes of a whole one.

    Args:
        reopen: Opens the page anew, in order.
        passes: The network, the steps and the estimator.
        folder: Where files of rows lie while it is restored: 12 bytes per pixel for each of two passes, and the output
            uncompressed.
        files: Closes them.
    """

    def __init__(
        self, reopen: Callable[[], Source], passes: PassRestorer, folder: Path, files: contextlib.ExitStack
    ) -> None:
        self.reopen, self.passes, self.folder, self.files = reopen, passes, folder, files
        pixels = reopen().pixels
        self.size = pixels.height, pixels.width
        self.notes: list[str] = []

    def restore(self, wish: Wish, form: Form, on_tile: OnTile | None) -> tuple["pyvips.Image", Outcome]:
        """Restores the page.

        Args:
            wish: What is to be done.
            form: In which it is written.
            on_tile: Called as `on_tile(tiles done, tiles in all)` in every pass.

        Returns:
            The samples that are written, to be used while `files` is open; and what was done.

        Raises:
            TaskError, ConfigError, ImageFileError: See `PassRestorer.restore`; or the disk is full.
        """
        start = time.perf_counter()
        passes, stopped = [], None
        planned = self.passes.planned(wish, lambda: self._middle(self.reopened().rgb))
        if wish.strength == 0 or planned == []:
            bands = map(self.reopened().rgb, *zip(*spans(self.size[0]), strict=True))
        elif planned is None:
            rows, passes, stopped = self._blind(wish, on_tile)
            bands = (rows(first, last) for first, last in spans(self.size[0]))
        else:
            passes = planned
            bands = self._in_turn(planned, on_tile)
        image = self._written(bands, wish.strength, form)
        size, seconds = self.size[::-1], time.perf_counter() - start
        precision = self.passes.runner.precision
        return image, Outcome(tuple(passes), stopped, wish.strength, size, seconds, tuple(self.notes), precision)

    def reopened(self) -> SourceRows:
        """The page's rows from the top."""
        return SourceRows(self.reopen())

    def _bands(self, rows: Rows, step: int, on_tile: OnTile | None) -> Iterator[np.ndarray]:
        for band in self.passes.runner.restore_rows(rows, self.size, step, on_tile, self.notes):
            yield band[0].permute(1, 2, 0).numpy()

    def _in_turn(self, planned: list[Pass], on_tile: OnTile | None) -> Iterator[np.ndarray]:
        """The bands of the last pass; those before it are kept."""
        latest = None
        for one in planned[:-1]:
            latest = self._kept(latest, one, on_tile)
        return self._pass(latest, planned[-1], on_tile)

    def _pass(self, latest: RowFile | None, one: Pass, on_tile: OnTile | None) -> Iterator[np.ndarray]:
        """The bands of one pass over the rows of the latest, or of the page itself."""
        bands = self._bands(latest or self.reopened().rgb, one.step, on_tile)
        if one.strength == 1:
            return bands
        return _partly(latest or self.reopened().rgb, bands, one.strength)

    def _kept(self, latest: RowFile | None, one: Pass, on_tile: OnTile | None) -> RowFile:
        """The rows of one pass, in place of those of the latest."""
        made = RowFile(self.folder, self.size[1], 3, np.float32)
        self.files.callback(made.close)
        for band in self._pass(latest, one, on_tile):
            made.append(band)
        if latest is not None:
            latest.close()
        return made

    def _blind(self, wish: Wish, on_tile: OnTile | None) -> tuple[Rows, list[Pass], Estimate | None]:
        """What was restored, the passes, found as by `PassRestorer` but in the middle, and their last estimate."""
        judge, passes, latest = self.passes.judge, [], None
        if judge.is_blank(map(self.reopened().rgb, *zip(*spans(self.size[0]), strict=True))):
            return self.reopened().rgb, [], BLANK
        most = judge.most_passes(wish.passes)
        while len(passes) < most:
            avoided = {done.task for done in passes} | self.passes.spared(wish)
            middle = self._middle(latest or self.reopened().rgb)
            following, found = self.passes.next_passes(middle, wish, avoided, most - len(passes))
            if not following:
                return latest or self.reopened().rgb, passes, found
            passes += following
            for one in following:
                latest = self._kept(latest, one, on_tile)
        return latest, passes, None

    def _middle(self, rows: Rows) -> torch.Tensor:
        top, left = (max(0, (length - SIDE) // 2) for length in self.size)
        seen = rows(top, min(top + SIDE, self.size[0]))[:, left : left + SIDE]
        return torch.from_numpy(seen.copy()).permute(2, 0, 1)[None]

    def _written(self, bands: Iterator[np.ndarray], strength: float, form: Form) -> "pyvips.Image":
        before, done = self.reopened(), 0
        channels = (1 if form.was_grey else 3) + len(form.extra)
        made = RowFile(self.folder, self.size[1], channels, np.uint8 if form.peak < 256 else np.uint16)
        self.files.callback(made.close)
        for band in bands:
            for first, last in spans(len(band)):
                held = before(done, done + last - first)
                made.append(_blended(held, before.source.form, band[first:last], strength, form))
                done += last - first
        return made.as_image()


def spans(height: int) -> Iterator[tuple[int, int]]:
    """The first and last (exclusive) rows of the parts that so many rows are handled in."""
    return ((first, min(first + ROWS_AT_ONCE, height)) for first in range(0, height, ROWS_AT_ONCE))


def _partly(before: Rows, bands: Iterator[np.ndarray], strength: float) -> Iterator[np.ndarray]:
    """Bands of which so much is restored."""
    done = 0
    for band in bands:
        held = before(done, done + len(band))
        yield held + np.float32(strength) * (band - held)
        done += len(band)


def _blended(held: np.ndarray, held_form: Form, restored: np.ndarray, strength: float, form: Form) -> np.ndarray:
    colours = 1 if held_form.was_grey else 3
    if strength != 1:
        before = torch.from_numpy(held[:, :, :colours].astype(np.float32) / np.float32(held_form.peak))
        restored = torch.lerp(before.expand(restored.shape), torch.from_numpy(restored), strength).numpy()
    return samples(restored, held[:, :, colours:], held_form.peak, form)
