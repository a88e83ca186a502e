"""Measuring folders of pictures against their GT, without a config or a model."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from dtir.core.errors import ConfigError, DatasetError, MissingExtraError
from dtir.core.names import did_you_mean
from dtir.datasets import PairedDataset
from dtir.evaluation.measures import Measure
from dtir.evaluation.metrics import IQA, NIQE, InputPSNR, PictureMetric
from dtir.evaluation.metrics.iqa import LISTING, library
from dtir.evaluation.records import PictureRecord
from dtir.evaluation.reports.comparison import TestReport
from dtir.imaging.listing import list_images
from dtir.registry import METRICS

Track = Callable[[Iterable], Iterable]


def build_metrics(names: Sequence[str], protocol: str, pristine: str | None = None) -> list[PictureMetric]:
    """Metrics by their registered names, else by pyiqa's; `NAME:PROTOCOL` gives one its own protocol.

    Args:
        names: Of the metrics.
        protocol: Of those without one of their own.
        pristine: File of NIQE's model of pristine pictures; None looks in torch's hub cache.

    Raises:
        ConfigError: A name or a protocol is unknown, or the metric cannot be measured by it; or there is a pristine
            model and no NIQE.
    """
    metrics = [_metric(*name.partition(":")[::2], protocol, pristine) for name in names]
    if pristine and not any(isinstance(metric, NIQE) for metric in metrics):
        raise ConfigError(
            f"the pristine model '{pristine}' is NIQE's, which is not among the metrics: name NIQE:y_8bit."
        )
    return metrics


def _metric(name: str, own: str, protocol: str, pristine: str | None) -> PictureMetric:
    # Its protocol before its name tells it from the metric of that name with the common protocol.
    options = {"protocol": own, "prefix": own} if own else {"protocol": protocol}
    known = {key: kind for key, kind in METRICS.module_dict.items() if issubclass(kind, PictureMetric)}
    if name == NIQE.name:
        options["parameters"] = pristine
    if name in known:
        return known[name](**options)
    try:
        further = library().list_models()
        others = f"pyiqa has {len(further)} more, listed by {LISTING}"
    except MissingExtraError as error:
        further, others = [], f"Those of pyiqa: {error}".removesuffix(".")
    if name in further:
        return IQA(name, **options)
    nearest = did_you_mean(name, known) or did_you_mean(name, further)
    raise ConfigError(
        f"unknown metric '{name}'.{nearest} Registered: {', '.join(sorted(known))}; one of your own with --import "
        f"MODULE. {others}."
    )


def evaluate_folder(
    restored: str | Path,
    gt: str | Path,
    metrics: Sequence[PictureMetric],
    lq: str | Path | None = None,
    pairing: str = "same",
    track: Track = iter,
) -> TestReport:
    """Measures the pictures of a folder against those of another that have their names.

    Where the folder has sub-folders of pictures, such as one per task, each is a row, and the average is over rows.

    Args:
        restored: Folder of restored pictures.
        gt: Folder of the GTs, with the same sub-folders.
        metrics: What to measure; see `build_metrics`.
        lq: Folder of the degraded pictures, to count the gain from, with the same sub-folders.
        pairing: Rule by which names match, a key of `dtir.datasets.pairing.RULES`.
        track: Wraps the pictures of a row, to show progress.

    Raises:
        DatasetError: A folder is missing or empty, pictures have no partner, or their sizes differ.
        ConfigError: PSNR of the input is asked for without `lq`, or there is no metric.
    """
    if not metrics:
        raise ConfigError("no metric to measure: name one at least, PSNR for example.")
    measured = [*([InputPSNR(metrics[0].protocol.name)] if lq else []), *metrics]
    records = [
        record
        for row in _rows(Path(restored))
        for record in _measured_row(row, Path(restored), Path(gt), lq and Path(lq), metrics, pairing, track)
    ]
    tasks = list(dict.fromkeys(record.task for record in records))
    return TestReport(Path(restored).resolve().name, "none", _measures(measured), records, tasks)


def _measures(metrics: Sequence[PictureMetric]) -> list[Measure]:
    return [metric.measure_taken() for metric in metrics]


def _rows(folder: Path) -> list[str]:
    """Sub-folders that hold pictures, or "" where the folder itself does."""
    if not folder.is_dir():
        raise DatasetError(f"no folder '{folder}': give the folder of the restored pictures.")
    if list_images(folder):
        return [""]
    rows = sorted(path.name for path in folder.iterdir() if path.is_dir() and list_images(path))
    if not rows:
        raise DatasetError(f"no pictures in '{folder}' nor in its sub-folders: give the folder of restored pictures.")
    return rows


def _measured_row(
    row: str, restored: Path, gt: Path, lq: Path | None, metrics: Sequence[PictureMetric], pairing: str, track: Track
) -> Iterator[PictureRecord]:
    for folder, what in ((gt / row, "GTs"), *([(lq / row, "degraded pictures")] if lq else [])):
        if not folder.is_dir():
            inside = f", with a folder '{row}' as '{restored}' has one" if row else ""
            raise DatasetError(f"no folder '{folder}': give the folder of the {what}{inside}.")
    name = row or restored.resolve().name
    values = _values(name, restored / row, gt / row, metrics, pairing, track)
    before = _values(name, lq / row, gt / row, [InputPSNR(metrics[0].protocol.name)], pairing, track) if lq else {}
    for picture, found in values.items():
        if lq and picture not in before:
            raise DatasetError(f"'{picture}' is in '{restored / row}' and not in '{lq / row}': add the LQ picture.")
        yield PictureRecord(name, picture, {**found, **before.get(picture, {})})


def _values(
    name: str, folder: Path, gt: Path, metrics: Sequence[PictureMetric], pairing: str, track: Track
) -> dict[str, dict[str, float]]:
    """The value of every metric, by picture."""
    pairs = PairedDataset(name, folder.resolve(), ".", str(gt.resolve()), pairing=pairing, cache_mb=0)
    found: dict[str, dict[str, float]] = {}
    for index in track(range(len(pairs))):
        item = pairs[index]
        about = item["data_samples"]
        sample = {"pred": item["inputs"], "lq": item["inputs"], "gt": about["gt"]}
        sample |= {"task_name": name, "name": about["name"]}
        for metric in metrics:
            metric.process({}, [sample])
            found.setdefault(about["name"], {})[metric.label] = metric.results.pop()["value"]
    return found
