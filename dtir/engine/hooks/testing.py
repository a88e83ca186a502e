"""What a test writes and how it restores: tables, pictures, self-ensemble."""

from pathlib import Path

import numpy as np
from mmengine.dist import all_gather_object, get_rank
from mmengine.hooks import Hook
from torch import Tensor

from dtir.core.errors import ConfigError
from dtir.core.ranges import NonNegativeInt
from dtir.datasets import RestorationDataset
from dtir.datasets.benchmarks.published_sets import are_published_sets
from dtir.engine.loops.recorded_test_loop import RecordedTestLoop
from dtir.evaluation.records import PictureRecord
from dtir.evaluation.reports.comparison import TestReport, write_test_report
from dtir.evaluation.reports.examples import ExampleStore
from dtir.imaging.files import write_picture
from dtir.imaging.listing import natural_key
from dtir.imaging.picture import Picture
from dtir.models import Restorer
from dtir.registry import HOOKS
from dtir.tasks import task_of


@HOOKS.register_module()
class TestReportHook(Hook):
    """Writes `report/test.{md,tex,csv,json}`, `report/pictures.{csv,json}`, and the best and worst pictures of every
    task to `report/examples`, when a test has ended.

    Args:
        examples: How many best and how many worst pictures per task.

    Raises:
        ConfigError: The test loop is no `RecordedTestLoop`, or PSNR is not in test_evaluator.
    """

    __test__ = False

    priority = "LOW"

    def __init__(self, examples: NonNegativeInt = 3) -> None:
        self.examples = examples
        self.written: Path | None = None

    def before_test(self, runner) -> None:
        """Begins the collection of examples, with what a resumed test has kept."""
        loop = runner.test_loop
        if not isinstance(loop, RecordedTestLoop):
            raise ConfigError(
                f"the report of a test needs test_cfg of type RecordedTestLoop, not {type(loop).__name__}: leave the "
                "type out of test_cfg, or name RecordedTestLoop or a subclass of it."
            )
        if "PSNR" not in [metric.label for metric in loop.metrics]:
            raise ConfigError("TestReportHook ranks pictures by PSNR: put dict(type='PSNR') into test_evaluator.")
        self.store = ExampleStore(loop.folder / "examples", self.examples)
        self.store.know(loop.records)

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Keeps the pictures that rank."""
        for record, sample in zip(runner.test_loop.latest, outputs, strict=True):
            self.store.offer(record, {name: as_uint8(sample[name]) for name in ("lq", "pred", "gt")})

    def after_test_epoch(self, runner, metrics: dict[str, float] | None = None) -> None:
        """Writes tables and panels."""
        gathered = all_gather_object(runner.test_loop.records)
        if get_rank() != 0:
            return
        records = [record for part in gathered for record in part]
        folder = Path(runner.work_dir) / "report"
        report = report_of(runner, records)
        write_test_report(folder, report)
        gone = self.store.write(folder / "examples", report.records, report.tasks)
        if gone:
            runner.logger.warning(f"Not in the panels of examples, as their kept files are gone: {', '.join(gone)}.")
        self.written = folder / "test.md"

    def after_run(self, runner) -> None:
        """Says where the tables are."""
        if self.written:
            runner.logger.info(f"Tables by task and by picture, and examples, are beside {self.written}.")


@HOOKS.register_module()
class SaveImagesHook(Hook):
    """Writes every restored picture of a test to `report/images/<task>/<name>.png`, 8 bits."""

    def after_test_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        """Writes the pictures of a batch.

        Raises:
            ImageFileError: A picture cannot be written.
        """
        for sample in outputs:
            rgb = sample["pred"].permute(1, 2, 0).float().cpu().numpy()
            path = Path(runner.work_dir) / "report" / "images" / sample["task_name"] / f"{sample['name']}.png"
            write_picture(path, Picture(rgb), rgb)


@HOOKS.register_module()
class SelfEnsembleHook(Hook):
    """Has a test restore every picture as the mean over its eight flips and turns: `tools/test.py --tta`."""

    def before_test(self, runner) -> None:
        """Tells the model."""
        runner.model.self_ensemble = True


def report_of(runner, records: list[PictureRecord]) -> TestReport:
    """The report of a test whose pictures are `records`, in the order of tasks and names."""
    model, loop = runner.model, runner.test_loop
    places = {task: place for place, task in enumerate(model.tasks)}
    ordered = sorted(records, key=lambda r: (places.get(task_of(r.task), len(places)), r.task, natural_key(r.name)))
    return TestReport(
        method=method_of(model),
        checkpoint=str(runner._load_from or "none"),
        measures=[metric.measure_taken() for metric in loop.metrics],
        records=ordered,
        tasks=list(dict.fromkeys(record.task for record in ordered)),
        on_published_sets=on_published_sets(loop.dataloader.dataset),
    )


def on_published_sets(dataset: object) -> bool:
    """Whether a dataset of several, or the only one, is of published test sets; see `are_published_sets`."""
    parts = getattr(dataset, "datasets", [dataset])
    return all(isinstance(part, RestorationDataset) for part in parts) and are_published_sets(parts)


def method_of(model: Restorer) -> str:
    """What restores, in words: model, network, and what a test adds to them."""
    extras = {
        f"tiles of {model.tile} with {model.tile_overlap} in common": model.tile is not None,
        "self-ensemble": model.self_ensemble,
        "estimated tasks": model.auto_task,
    }
    words = [name for name, used in extras.items() if used]
    return ", ".join([f"{type(model).__name__} with {type(model.backbone).__name__}", *words])


def as_uint8(picture: Tensor) -> np.ndarray:
    """(H, W, 3) uint8 of a picture (3, H, W), uint8 or floating point in [0, 1]."""
    values = (picture * 255).round().byte() if picture.is_floating_point() else picture
    return values.permute(1, 2, 0).cpu().numpy()
