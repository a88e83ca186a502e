"""What a test has measured so far, picture by picture, in files that survive being killed at any moment."""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dtir.version import __version__

_CHUNK = 1 << 20


@dataclass(frozen=True)
class PictureRecord:
    """The values of one picture.

    Attributes:
        task: Name of its row in tables: the task, or `<task>@<test set>`.
        name: Its name within the row.
        values: By metric.
        stamp: What its files were when it was measured, see `stamp_of`.
    """

    task: str
    name: str
    values: Mapping[str, float]
    stamp: str = ""


class RecordFolder:
    """Records of one test in a folder, one file per process, each line a record.

    A record is appended by one write, so that a killed process leaves whole lines, or at most a torn last one, which is
    not read.

    Args:
        folder: Where the files are; made with the first record.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def append(self, record: PictureRecord, rank: int = 0) -> None:
        """Adds a record to the file of process `rank`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # Begun on a new line, so that a torn line before it stays by itself.
        values = {label: _written(value) for label, value in record.values.items()}
        line = f"\n{json.dumps({**asdict(record), 'values': values}, allow_nan=False)}"
        with open(self.folder / f"process_{rank}.jsonl", "ab", buffering=0) as file:
            file.write(line.encode())

    def read(self) -> list[PictureRecord]:
        """All whole records, of all processes."""
        files = sorted(self.folder.glob("process_*.jsonl"))
        lines = (line for path in files for line in path.read_text(encoding="utf-8", errors="replace").split("\n"))
        return [PictureRecord(**entry) for entry in map(_parsed, lines) if entry is not None]


def _written(value: float) -> float | str:
    # JSON has neither infinity nor NaN; "inf" is read back as a number.
    return value if math.isfinite(value) else str(value)


def _parsed(line: str) -> dict | None:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError:
        return None
    return {**entry, "values": {label: float(value) for label, value in entry["values"].items()}} if entry else None


def stamp_of(sample: Mapping[str, Any]) -> str:
    """Paths, sizes in bytes and times of change of a picture's files, `lq_path` and `gt_path`."""
    return "|".join(_file_stamp(str(sample[key])) for key in ("lq_path", "gt_path") if key in sample)


def _file_stamp(path: str) -> str:
    # What a dataset calls a path need not be a file: it may be a key of a database.
    if not os.path.isfile(path):
        return path
    status = os.stat(path)
    return f"{path}:{status.st_size}:{status.st_mtime_ns}"


def settings_key(checkpoint: str | Path | None, settings: Mapping[str, Any]) -> str:
    """What tells one test from another: digest of dtir's version, the checkpoint's bytes, and the settings.

    Args:
        checkpoint: The file, None for the weights that a model starts with.
        settings: Nested plain values: all that the measured values depend on beside the checkpoint.
    """
    digest = hashlib.sha256(f"{__version__} {json.dumps(settings, sort_keys=True, default=repr)}".encode())
    for chunk in _chunks(checkpoint):
        digest.update(chunk)
    return digest.hexdigest()[:16]


def _chunks(path: str | Path | None) -> Iterable[bytes]:
    if path is None:
        return
    with open(path, "rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
