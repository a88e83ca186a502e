"""The report page of a training: one HTML file that needs nothing else."""

from collections.abc import Sequence
from pathlib import Path

from dtir.core.atomic import atomic_write
from dtir.core.errors import DtirError
from dtir.evaluation.render.html import Html, page, tag
from dtir.evaluation.reports.run import result_sections as outcome
from dtir.evaluation.reports.run import training_sections as course
from dtir.evaluation.reports.run.published_section import published_methods
from dtir.evaluation.reports.run.record import RunRecord, read_run
from dtir.version import __version__


def write_run_report(
    work_dir: str | Path, out: str | Path | None = None, compare: dict[str, str | Path] | None = None
) -> Path:
    """Writes the page of a work folder, atomically.

    Args:
        work_dir: Work folder of a training or test.
        out: The page; by default `report.html` in the work folder.
        compare: Work folders of other runs by name, for the tables and radar charts.

    Returns:
        The file that was written.

    Raises:
        DtirError: A folder is no work folder, a file in it is damaged, or another run has no results.
        ImageFileError: A kept picture cannot be read.
    """
    record = read_run(work_dir)
    others = [_other(name, folder) for name, folder in (compare or {}).items()]
    path = Path(work_dir) / "report.html" if out is None else Path(out)
    text = build_page(record, others)
    try:
        with atomic_write(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise DtirError(f"cannot write '{path}': {error.strerror or error}. Name another file with --out.") from error
    return path


def _other(name: str, folder: str | Path) -> RunRecord:
    record = read_run(folder, name)
    if not record.results:
        raise DtirError(
            f"--compare {name}: '{folder}' has no report/results.json; train or test it with dict(type='ReportHook')."
        )
    return record


def build_page(record: RunRecord, others: Sequence[RunRecord] = ()) -> Html:
    """The page of a run, with other runs to compare it with."""
    sections = [
        ("summary", "Summary", course.summary(record)),
        ("results", "Results", outcome.results(record, others)),
        ("pictures", "Before and after", outcome.pictures(record)),
        ("radar", "Radar charts", outcome.radars(record, others)),
        ("published", "Published methods", published_methods(record)),
        ("curves", "Learning curves", course.learning_curves(record)),
        ("matching", "Time-step matching", course.matching(record)),
        ("forgetting", "Forgetting", outcome.forgetting(record)),
        ("experts", "Expert usage", outcome.expert_usage(record)),
        ("confusion", "Blind time step", outcome.confusion(record)),
        ("embedding", "Features by degradation", outcome.embedding(record)),
    ]
    facts = record.facts
    told = f"{facts['model']} trained with {facts['config']}" if facts else "A run of dtir"
    head = tag("p", f"{told}; page written by dtir {__version__}", class_="lead")
    return page(f"dtir report: {record.name}", head, sections)
