"""The log of an archive: one JSON object per picture, from which a run goes on and each picture can be made again."""

import datetime
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from dtir.apis.archive.attempt import Done, Origin, origin_of, stamp_of
from dtir.apis.archive.folder import Failure, Job
from dtir.apis.restoring.outcome import Outcome
from dtir.core.atomic import append_line
from dtir.core.errors import ConfigError
from dtir.version import __version__

EXISTED = "existed"
DONE = ("restored", "left")
# Of every line, so that nothing else is taken for a log and appended to.
_BEGINNING = '{"input": '


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
        # Of a million pictures, their digests and no texts.
        self._done: dict[int, int] = {}
        self._existed: set[int] = set()
        self._written: set[int] = set()
        for line in self._lines():
            self._learn(line)

    def _learn(self, line: Mapping) -> None:
        source, target = _digest(line["input"]), _digest(line["output"])
        if line["status"] != EXISTED:
            self._written.add(target)
        if line.get("request") != self.request:
            return
        # The last line of a picture counts.
        self._done.pop(source, None)
        self._existed.discard(source)
        if line["status"] in DONE:
            self._done[source] = _digest(line["output"], line.get("input_bytes"), line.get("input_mtime_ns"))
        elif line["status"] == EXISTED:
            self._existed.add(source)

    def is_done(self, job: Job) -> bool:
        """Whether a run with the same settings has written this output, which is there, from this very input."""
        done = self._done.get(_digest(job.source))
        return done is not None and done == _digest(job.target, *stamp_of(job.source)) and os.path.exists(job.target)

    def existed(self, job: Job) -> bool:
        """Whether it says already that the output was there before, and stays."""
        return _digest(job.source) in self._existed

    def wrote(self, job: Job) -> bool:
        """Whether some run with this log, whatever its settings, has had this output."""
        return _digest(job.target) in self._written

    def begin(self) -> None:
        """Makes the file, or finds out now, and not after the first picture, that it cannot be written.

        Raises:
            ConfigError: It cannot.
        """
        self._write(b"")

    def add(self, job: Job, done: Done) -> None:
        """Appends what became of a picture; the line is on its way to the disk when this returns."""
        about = _failed(done.result) if isinstance(done.result, Failure) else _succeeded(done.result)
        self._append(job, done.origin, about)

    def add_existing(self, job: Job) -> None:
        """Appends that the output was there already, and stays."""
        self._append(job, origin_of(job.source, stamp_of(job.source)), {"status": EXISTED})

    def _append(self, job: Job, origin: Origin, about: Mapping) -> None:
        line = {
            "input": str(job.source),
            "input_sha256": origin.sha256,
            "input_bytes": origin.size,
            "input_mtime_ns": origin.mtime_ns,
            "output": str(job.target),
            **about,
            "settings": self.settings,
            "request": self.request,
            "dtir_version": __version__,
            "time": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        }
        # A byte of a path that is no UTF-8 becomes the \\udcXX of JSON, and is that byte again when it is read.
        self._write(json.dumps(line, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")

    def _write(self, line: bytes) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            append_line(self.path, line)
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


def _digest(*parts: object) -> int:
    """A number of 64 bits for what a picture is told by; of a million, two are the same once in 30 million logs."""
    text = "\0".join(map(str, parts)).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


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
        "precision": outcome.precision,
        "warnings": list(outcome.warnings),
    }
