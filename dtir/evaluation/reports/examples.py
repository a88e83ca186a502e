"""The best and the worst pictures of every task, kept on disk while a test runs."""

import hashlib
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from dtir.core.atomic import atomic_write
from dtir.evaluation.records import PictureRecord
from dtir.evaluation.reports.panels import PanelRow, save_panel

PICTURES = ("lq", "pred", "gt")


class ExampleStore:
    """Pictures that are among the `count` best or worst of their task so far, by PSNR.

    A picture that falls out is deleted. Several processes may use one folder: what is among the first of all is among
    the first of those that its process knows.

    Args:
        folder: Where the pictures are kept.
        count: How many of the best and how many of the worst, per task.
        label: Label of the metric that ranks them, larger is better.
    """

    def __init__(self, folder: str | Path, count: int, label: str = "PSNR") -> None:
        self.folder = Path(folder)
        self.count = count
        self.label = label
        self._ranked: dict[str, list[PictureRecord]] = {}

    def know(self, records: Iterable[PictureRecord]) -> None:
        """Takes part records of pictures whose files, where they rank, are there."""
        for record in records:
            self._rank(record)

    def offer(self, record: PictureRecord, pictures: Mapping[str, np.ndarray]) -> None:
        """Keeps a picture where it ranks.

        Args:
            record: Its values.
            pictures: `lq`, `pred`, `gt`: (H, W, 3) uint8 RGB.
        """
        for fallen in self._rank(record):
            if fallen is record:
                return
            self._path(fallen).unlink(missing_ok=True)
        with atomic_write(self._path(record)) as file:
            np.savez(file, **{name: pictures[name] for name in PICTURES})

    def write(self, folder: str | Path, records: Sequence[PictureRecord], tasks: Iterable[str]) -> list[str]:
        """Writes `<task>_best.png` and `<task>_worst.png` with rows LQ | restored | GT.

        Args:
            folder: Where to write.
            records: All pictures of the test.
            tasks: Names of the tasks.

        Returns:
            Pictures that rank but whose files are gone, as `task/name`; the panels are without them.
        """
        gone = []
        for task in tasks:
            ranked = sorted((r for r in records if r.task == task), key=self._value)
            for kind, chosen in (("worst", ranked[: self.count]), ("best", ranked[::-1][: self.count])):
                rows = [self._row(record) for record in chosen]
                gone += [f"{r.task}/{r.name}" for r, row in zip(chosen, rows, strict=True) if row is None]
                if any(rows):
                    save_panel(Path(folder) / f"{task}_{kind}.png", [row for row in rows if row])
        return sorted(set(gone))

    def _rank(self, record: PictureRecord) -> list[PictureRecord]:
        """Places a record among those of its task; returns those that do not rank any more."""
        known = sorted([*self._ranked.get(record.task, []), record], key=self._value)
        middle = known[self.count : max(self.count, len(known) - self.count)]
        self._ranked[record.task] = known[: self.count] + known[self.count + len(middle) :]
        return middle

    def _value(self, record: PictureRecord) -> tuple[float, str]:
        return record.values[self.label], record.name

    def _path(self, record: PictureRecord) -> Path:
        # A name may be a path; its digest is a file name anywhere.
        return self.folder / f"{hashlib.sha256(f'{record.task}/{record.name}'.encode()).hexdigest()[:24]}.npz"

    def _row(self, record: PictureRecord) -> PanelRow | None:
        try:
            with np.load(self._path(record), allow_pickle=False) as arrays:
                pictures = [arrays[name] for name in PICTURES]
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
            return None
        return PanelRow(pictures, [f"LQ {record.name}", f"restored {record.values[self.label]:.2f} dB", "GT"])
