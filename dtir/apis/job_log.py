"""The log of an archive: one JSON object per picture, from which a run goes on and each picture can be made again."""

import datetime
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from dtir.apis.folder import Failure, Job
from dtir.apis.outcome import Outcome
from dtir.core.errors import ConfigError
from dtir.version import __version__

EXISTED = "existed"
_BLOCK = 1 << 20
# Of every line, so that nothing else is taken for a log and appended to.
_BEGINNING = '{"input": '


def file_sha256(path: str | Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(_BLOCK), b""):
            digest.update(block)
    return digest.hexdigest()


class JobLog:
    """Appends to a JSONL file what became of each picture.

    A line holds `input` with its `input_sha256`, `input_bytes` and `input_mtime_ns`, `output`, `status` ("restored",
    "left" as it was, "failed", or "existed" of an output that no run with this log has written), `error`, what
    `Outcome` knows, `settings`, their hash `request`, `dtir_version` and `time`.

    Args:
        path: The file; lines of earlier runs are kept.
        settings: All that the outputs depend on beside the inputs, the model's hash included; plain types.

    Raises:
        ConfigError: The file cannot be read, or holds something else than such a log.
    """

    def __init__(self, path: str | Path, settings: Mapping[str, object]) -> None:
        self.path, self.settings = Path(path), dict(settings)
        self.request = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:16]
        self._ends_early = False
        self._done: dict[str, dict] = {}
        self._written: set[str] = set()
        for line in self._lines():
            if line["status"] != EXISTED:
                self._written.add(line["output"])
            if line.get("request") == self.request:
                self._done[line["input"]] = line

    def is_done(self, job: Job) -> bool:
        """Whether a run with the same settings has written this output, which is there, from this very input."""
        line = self._done.get(str(job.source))
        if (
            line is None
            or line["status"] not in ("restored", "left")
            or line["output"] != str(job.target)
            or not job.target.exists()
        ):
            return False
        return _stamp(job.source) == {key: line.get(key) for key in ("input_bytes", "input_mtime_ns")}

    def wrote(self, job: Job) -> bool:
        """Whether some run with this log, whatever its settings, has had this output."""
        return str(job.target) in self._written

    def begin(self) -> None:
        """Makes the file, or finds out now, and not after the first picture, that it cannot be written.

        Raises:
            ConfigError: It cannot.
        """
        self._write("")

    def add(self, job: Job, result: Outcome | Failure) -> None:
        """Appends what became of a picture; the line is on its way to the disk when this returns."""
        self._append(job, _failed(result) if isinstance(result, Failure) else _succeeded(result))

    def add_existing(self, job: Job) -> None:
        """Appends once that the output was there already, and stays."""
        if self._done.get(str(job.source), {}).get("status") != EXISTED:
            self._append(job, {"status": EXISTED})

    def _append(self, job: Job, about: dict) -> None:
        line = {
            "input": str(job.source),
            **_identity(job.source),
            "output": str(job.target),
            **about,
            "settings": self.settings,
            "request": self.request,
            "dtir_version": __version__,
            "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        }
        # A line that a killed run left unfinished is ended first.
        self._write("\n" * self._ends_early + json.dumps(line, ensure_ascii=False) + "\n")
        self._ends_early = False

    def _write(self, text: str) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # A byte of a path that is no UTF-8 becomes the \\udcXX of JSON, and is that byte again when it is read.
            with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        except OSError as error:
            raise ConfigError(
                f"the log '{self.path}' cannot be written: {error.strerror or error}. Choose another place for it, or "
                "make room; run again, and pictures that are in it are not done twice."
            ) from error

    def _lines(self) -> Iterator[dict]:
        if not self.path.exists():
            return
        try:
            with self.path.open(encoding="utf-8", errors="replace") as file:
                for number, text in enumerate(file):
                    if number == 0 and not text.startswith(_BEGINNING):
                        raise ConfigError(f"'{self.path}' is no log of restored pictures; name another file.")
                    self._ends_early = not text.endswith("\n")
                    line = _parsed(text)
                    if line is not None:
                        yield line
        except OSError as error:
            raise ConfigError(f"the log '{self.path}' cannot be read: {error.strerror or error}.") from error


def _parsed(text: str) -> dict | None:
    try:
        line = json.loads(text)
    except json.JSONDecodeError:
        # The last line of a run that was killed; its picture is done again.
        return None
    return line if isinstance(line, dict) and {"input", "output", "status"} <= line.keys() else None


def _identity(source: Path) -> dict:
    try:
        return {"input_sha256": file_sha256(source), **_stamp(source)}
    except OSError:
        return {"input_sha256": None}


def _stamp(source: Path) -> dict:
    stat = os.stat(source)
    return {"input_bytes": stat.st_size, "input_mtime_ns": stat.st_mtime_ns}


def _failed(failure: Failure) -> dict:
    return {"status": "failed", "error": failure.reason}


def _succeeded(outcome: Outcome) -> dict:
    return {
        "status": "restored" if outcome.changed else "left",
        "task": outcome.task,
        "confidence": outcome.confidence,
        "step": outcome.step,
        "passes": [done._asdict() for done in outcome.passes],
        "stopped_at": outcome.stopped_at and outcome.stopped_at._asdict(),
        "width": outcome.size[0],
        "height": outcome.size[1],
        "seconds": round(outcome.seconds, 3),
        "warnings": list(outcome.warnings),
    }
