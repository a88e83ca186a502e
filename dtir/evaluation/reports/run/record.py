"""Reads back what a training left in its work folder."""

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dtir.core.errors import DtirError
from dtir.diffusion.matching import MatchingCurve
from dtir.evaluation.reports.forgetting import FORGOTTEN
from dtir.evaluation.reports.pictures import INDEX
from dtir.evaluation.reports.run.facts import RUN_FILE
from dtir.evaluation.reports.tables import read_results
from dtir.evaluation.results import ResultTable

EMBEDDING = "embedding.json"


@dataclass(frozen=True)
class RunRecord:
    """What is known of a run; a part whose files are not there is empty.

    Attributes:
        name: Name of the run.
        folder: Its work folder.
        facts: As `run_facts`.
        scalars: Lines of the log of values, by step.
        curves: Matching curves, one per task.
        results: The table of the last validation or test, None without one.
        forgetting: PSNR in dB by stage and task; tasks without value are left out.
        experts: Share of the experts by task: adapter -> task -> shares.
        confusion: Number of pictures: true task -> estimated task -> count.
        pictures: As in `pictures.json`.
        embedding: As `write_embedding` writes it.
    """

    name: str
    folder: Path
    facts: dict = field(default_factory=dict)
    scalars: Sequence[dict] = ()
    curves: Sequence[MatchingCurve] = ()
    results: ResultTable | None = None
    forgetting: dict[str, dict[str, float]] = field(default_factory=dict)
    experts: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    confusion: dict[str, dict[str, int]] = field(default_factory=dict)
    pictures: Sequence[dict] = ()
    embedding: dict = field(default_factory=dict)

    @property
    def tasks(self) -> list[str]:
        """The tasks that were measured."""
        return self.results.tasks if self.results else []


def read_run(folder: str | Path, name: str | None = None) -> RunRecord:
    """Reads a work folder.

    Args:
        folder: The work folder of a training or test.
        name: Name of the run; by default that of the folder.

    Raises:
        DtirError: It is no work folder, or one of its files is damaged.
    """
    folder = Path(folder)
    report = folder / "report"
    if not folder.is_dir():
        raise DtirError(f"no folder '{folder}': expected the work folder of a training (dtir train --work-dir).")
    logs = sorted(folder.glob("*/vis_data/scalars.json"))
    if not report.is_dir() and not logs:
        raise DtirError(
            f"'{folder}' holds neither report/ nor */vis_data/scalars.json: expected the work folder of a training."
        )
    return RunRecord(
        name=name or folder.resolve().name,
        folder=folder,
        facts=_read(report / RUN_FILE, json.loads, {}),
        scalars=sorted((line for log in logs for line in _read(log, _json_lines, [])), key=lambda line: line["step"]),
        curves=_read(folder / "matching" / "curves.json", _curves, []),
        results=_read(report / "results.json", read_results, None),
        forgetting=_read(report / "forgetting.csv", _forgetting, {}),
        experts=_read(report / "experts.csv", _experts, {}),
        confusion=_read(report / "confusion.csv", _confusion, {}),
        pictures=_read(report / "pictures" / INDEX, json.loads, []),
        embedding=_read(report / EMBEDDING, json.loads, {}),
    )


def _read(path: Path, parse: Callable[[str], object], missing: object) -> object:
    if not path.is_file():
        return missing
    try:
        return parse(path.read_text(encoding="utf-8"))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DtirError(
            f"'{path}' is damaged ({type(error).__name__}: {error}). Remove it, or run the training or test again."
        ) from error


def _json_lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _curves(text: str) -> list[MatchingCurve]:
    return [MatchingCurve.from_dict(item) for item in json.loads(text)]


def _rows(text: str) -> tuple[list[str], list[list[str]]]:
    header, *rows = csv.reader(text.splitlines())
    return header, rows


def _forgetting(text: str) -> dict[str, dict[str, float]]:
    header, rows = _rows(text)
    return {
        stage: {task: float(value) for task, value in zip(header[1:], values, strict=True) if value != "-"}
        for stage, *values in rows
        if stage != FORGOTTEN
    }


def _experts(text: str) -> dict[str, dict[str, list[float]]]:
    shares: dict[str, dict[str, list[float]]] = {}
    for adapter, task, *values in _rows(text)[1]:
        shares.setdefault(adapter, {})[task] = [float(value) for value in values]
    return shares


def _confusion(text: str) -> dict[str, dict[str, int]]:
    header, rows = _rows(text)
    return {task: dict(zip(header[1:], map(int, values), strict=True)) for task, *values in rows}
