"""Several methods, each trained with one seed or more, side by side: what is known of them."""

import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from dtir.core.errors import ConfigError, DtirError
from dtir.evaluation.measures import Measure
from dtir.evaluation.metrics import InputPSNR
from dtir.evaluation.metrics.base import AVERAGE
from dtir.evaluation.reports.run.record import RunRecord, read_run
from dtir.evaluation.results import GAIN
from dtir.evaluation.statistics import difference_interval, mean_and_spread, signed_rank_p
from dtir.tasks import averaged_rows

PICTURES, COST = "pictures.json", "cost.json"
_SEED = re.compile(r"(?:[-_.]s|[-_.]?seed[-_.]?)\d+$")

# By task, picture and label.
PictureValues = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True)
class Method:
    """A method and its trainings.

    Attributes:
        name: What tables call it.
        runs: Its trainings, which differ by their seed.
        pictures: Values of every picture in each run, or None where no test has measured them.
        costs: Content of `cost.json` for each run that was tested.
    """

    name: str
    runs: Sequence[RunRecord]
    pictures: Sequence[PictureValues | None]
    costs: Sequence[dict]

    def values(self, task: str, label: str) -> list[float]:
        """The value of each run that has one."""
        found = [run.results.value(task, label) for run in self.runs]
        return [value for value in found if value is not None]

    def shown(self, task: str, measure: Measure) -> str:
        """The mean over the seeds, with their standard deviation where there are several."""
        values = self.values(task, measure.label)
        if not values:
            return measure.show(None)
        mean, spread = mean_and_spread(values)
        return measure.show(mean) if spread is None else f"{measure.show(mean)} ± {spread:.{measure.digits}f}"

    def by_picture(self, label: str) -> dict[str, dict[str, float]] | None:
        """By task and picture, the mean over the seeds of a measure, of the pictures with a finite value in every run;
        None without any."""
        if any(pictures is None for pictures in self.pictures):
            return None
        runs = [_of_measure(pictures, label) for pictures in self.pictures]
        shared = set(runs[0]).intersection(*runs[1:])
        means: dict[str, dict[str, float]] = {}
        for task, name in runs[0]:
            if (task, name) in shared:
                means.setdefault(task, {})[name] = fmean(run[task, name] for run in runs)
        return means or None


def _of_measure(pictures: PictureValues, label: str) -> dict[tuple[str, str], float]:
    return {
        (task, name): values[label]
        for task, names in pictures.items()
        for name, values in names.items()
        if label in values
    }


@dataclass(frozen=True)
class Difference:
    """A method against the first one, in a measure.

    Attributes:
        method: Its name.
        measure: What is compared.
        mean: Difference of the averages.
        low: Lower end of its interval of 95 %.
        high: Upper end.
        p: p-value of Wilcoxon's signed-rank test.
        pictures: How many pictures it is over.
    """

    method: str
    measure: Measure
    mean: float
    low: float
    high: float
    p: float
    pictures: int


def read_methods(runs: Sequence[tuple[str, str | Path]], seeds: bool = False) -> list[Method]:
    """Reads the work folders of methods.

    Args:
        runs: Name, which may be empty, and work folder of each run. Runs of one name are seeds of one method.
        seeds: Whether runs without a name are seeds of one method where their folders' names differ in a last
            `_seed<number>` only, or are `seed<number>` in one folder; otherwise each is a method by itself.

    Raises:
        ConfigError: There are fewer than two methods, a folder is given twice, or two without a name are called alike.
        DtirError: A folder is no work folder, has no results, or a file in it is damaged.
    """
    grouped = _grouped(runs, seeds)
    if len(grouped) < 2:
        raise ConfigError(
            f"there is one method only, '{next(iter(grouped), '')}': give the work folders of two at least, as DIR or "
            "NAME=DIR; runs of one NAME are seeds of one method."
        )
    return [_read_method(name, folders) for name, folders in grouped.items()]


def _grouped(runs: Sequence[tuple[str, str | Path]], seeds: bool) -> dict[str, list[Path]]:
    grouped: dict[str, list[Path]] = {}
    known: set[Path] = set()
    for name, folder in runs:
        whole = Path(folder).resolve()
        if whole in known:
            raise ConfigError(f"'{folder}' is given twice: each run counts once.")
        known.add(whole)
        method = name or (_without_seed(whole) if seeds else whole.name)
        if method in grouped and not name and not seeds:
            raise ConfigError(
                f"'{folder}' and '{grouped[method][0]}' are both called '{method}': give them names of their own, as "
                "NAME=DIR, or the same one if they are seeds of one method."
            )
        grouped.setdefault(method, []).append(Path(folder))
    return grouped


def _without_seed(folder: Path) -> str:
    return _SEED.sub("", folder.name) or folder.parent.name


def _read_method(name: str, folders: Sequence[Path]) -> Method:
    runs = [read_run(folder, name) for folder in folders]
    for folder, run in zip(folders, runs, strict=True):
        if run.results is None:
            raise DtirError(
                f"'{folder}' has no report/results.json: test it (dtir test), with dict(type='ReportHook') in "
                "custom_hooks."
            )
    pictures = [_pictures(folder / "report" / PICTURES) for folder in folders]
    costs = [json.loads(path.read_text()) for folder in folders if (path := folder / "report" / COST).is_file()]
    return Method(name, runs, pictures, costs)


def _pictures(path: Path) -> PictureValues | None:
    if not path.is_file():
        return None
    try:
        values: dict[str, dict[str, dict[str, float]]] = {}
        for entry in json.loads(path.read_text(encoding="utf-8"))["pictures"]:
            task, picture = entry.pop("task"), entry.pop("picture")
            values.setdefault(task, {})[picture] = {label: v for label, v in entry.items() if v is not None}
        return values
    except (ValueError, KeyError, TypeError) as error:
        raise DtirError(f"'{path}' is damaged ({type(error).__name__}: {error}): run dtir test again.") from error


def compared_measures(methods: Sequence[Method]) -> list[Measure]:
    """The measures that all runs have, without the input's and the gain, which say nothing new."""
    first = methods[0].runs[0].results
    tables = [run.results for method in methods for run in method.runs]
    kept = [measure for measure in first.measures if measure.label not in (InputPSNR.name, GAIN)]
    return [measure for measure in kept if all(table.measure(measure.label) for table in tables)]


def compared_rows(methods: Sequence[Method]) -> list[str]:
    """The tasks of the first method's first run, and the average."""
    return [*methods[0].runs[0].tasks, AVERAGE]


def differences(methods: Sequence[Method]) -> list[Difference]:
    """Every further method against the first, for each measure whose values are known by picture for both."""
    reference, *others = methods
    found = [_difference(other, reference, measure) for other in others for measure in compared_measures(methods)]
    return [difference for difference in found if difference is not None]


def _difference(method: Method, reference: Method, measure: Measure) -> Difference | None:
    pair = [one.by_picture(measure.label) for one in (method, reference)]
    if None in pair:
        return None
    tasks = averaged_rows(task for task in pair[0] if task in pair[1])
    names = {task: [name for name in pair[0][task] if name in pair[1][task]] for task in tasks}
    first, second = ({task: [one[task][n] for n in names[task]] for task in tasks if names[task]} for one in pair)
    if not first:
        return None
    low, high = difference_interval(first, second)
    mean = fmean(fmean(first[task]) - fmean(second[task]) for task in first)
    count = sum(map(len, first.values()))
    return Difference(method.name, measure, mean, low, high, signed_rank_p(first, second), count)


def picture_rows(methods: Sequence[Method]) -> list[list[str]]:
    """A table for a CSV file: task, picture, and every measure of every method, the mean over its seeds."""
    measures = compared_measures(methods)
    columns = [(method, measure, method.by_picture(measure.label)) for method in methods for measure in measures]
    known = [(method, measure, values) for method, measure, values in columns if values is not None]
    header = ["task", "picture", *(f"{method.name} {measure.label}" for method, measure, _ in known)]
    pictures = dict.fromkeys((task, name) for *_, values in known for task, names in values.items() for name in names)
    rows = [[task, name, *(str(values.get(task, {}).get(name, "")) for *_, values in known)] for task, name in pictures]
    return [header, *rows]


def write_rows(file, rows: Sequence[Sequence[str]]) -> None:
    """Writes rows as CSV into an open file."""
    csv.writer(file, lineterminator="\n").writerows(rows)
