"""Testing that can be interrupted."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from mmengine.dist import broadcast_object_list, get_dist_info
from mmengine.runner import TestLoop, autocast
from torch.utils.data import DataLoader, Dataset

from dtir.core.errors import ConfigError
from dtir.evaluation.metrics import PictureMetric
from dtir.evaluation.records import PictureRecord, RecordFolder, settings_key, stamp_of
from dtir.registry import LOOPS

RECORDS = "test_records"


@LOOPS.register_module()
class RecordedTestLoop(TestLoop):
    """mmengine's test loop that writes down what it measures, picture by picture, and can go on from there.

    Records are in `<work_dir>/test_records/<key>`; the key tells checkpoints, models, data, metrics and hooks apart.
    Pictures are spread over the processes in turns, none twice, so that any number of them gives the same values.

    Args:
        runner: The runner.
        dataloader: Loader, or its config; every picture of its dataset is measured.
        evaluator: Evaluator, or its config.
        fp16: As in mmengine's.
        resume: Whether pictures that were measured before, by a test of this key, are left out. A picture whose files
            have changed since is measured again.

    Attributes:
        folder: Folder of the records.
        records: Values of the pictures of this process.
        latest: Records of the pictures of the present iteration.

    Raises:
        ConfigError: `resume` with a model that has no checkpoint, with a metric that is no `PictureMetric`, or with a
            dataset that does not name its pictures.
    """

    def __init__(self, runner, dataloader, evaluator, fp16: bool = False, resume: bool = False) -> None:
        super().__init__(runner, dataloader, evaluator, fp16)
        self.resume = resume
        self.records: list[PictureRecord] = []
        self.latest: list[PictureRecord] = []
        self.folder = Path(runner.work_dir) / RECORDS
        self.metrics = [metric for metric in self.evaluator.metrics if isinstance(metric, PictureMetric)]

    def run(self) -> dict:
        """Measures what is not recorded yet, and evaluates all."""
        rank, world = get_dist_info()
        self.folder, found = self._shared_start(rank)
        dataset = self.dataloader.dataset
        done = recorded_pictures(dataset, found) if found else {}
        # The recorded ones first: the order of a metric's results is then the same in every process.
        mine = sorted(range(len(dataset)), key=lambda index: index not in done)[rank::world]
        self.records = [done[index] for index in mine if index in done]
        self._hand_to_metrics()
        self.dataloader = loader_of(self.dataloader, [index for index in mine if index not in done])
        self.runner.logger.info(
            f"{len(done)} of {len(dataset)} pictures are recorded in {self.folder}; if this test is interrupted, the "
            "same command with --resume goes on."
        )
        return super().run()

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: dict) -> None:
        """Measures a batch; a picture is recorded when all hooks are done with it."""
        self.runner.call_hook("before_test_iter", batch_idx=idx, data_batch=data_batch)
        with autocast(enabled=self.fp16):
            outputs = self.runner.model.test_step(data_batch)
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        self.latest = self._records_of(outputs)
        self.runner.call_hook("after_test_iter", batch_idx=idx, data_batch=data_batch, outputs=outputs)
        self.records += self.latest
        for record in self.latest:
            RecordFolder(self.folder).append(record, get_dist_info()[0])

    def _shared_start(self, rank: int) -> tuple[Path, list[PictureRecord]]:
        """Folder and records so far, the same for all processes."""
        start = [self._start()] if rank == 0 else [None]
        broadcast_object_list(start)
        return start[0]

    def _start(self) -> tuple[Path, list[PictureRecord]]:
        checkpoint = self.runner._load_from
        if self.resume:
            self._check_resumable(checkpoint)
        folder = Path(self.runner.work_dir) / RECORDS / settings_key(checkpoint, _settings(self.runner.cfg))
        if not self.resume:
            shutil.rmtree(folder, ignore_errors=True)
        return folder, RecordFolder(folder).read()

    def _check_resumable(self, checkpoint: str | None) -> None:
        others = [type(metric).__name__ for metric in self.evaluator.metrics if metric not in self.metrics]
        if checkpoint is None:
            raise ConfigError("resuming a test needs the checkpoint that it was started with.")
        if others:
            raise ConfigError(
                f"a test with {', '.join(others)} cannot be resumed: only values of single pictures are recorded, "
                "those of subclasses of dtir.evaluation.PictureMetric. Test without --resume."
            )

    def _hand_to_metrics(self) -> None:
        for metric in self.metrics:
            metric.results += [
                {"task": record.task, "name": record.name, "value": record.values[metric.label]}
                for record in self.records
            ]

    def _records_of(self, outputs: Sequence[Mapping]) -> list[PictureRecord]:
        measured = {metric.label: metric.results[-len(outputs) :] for metric in self.metrics}
        return [
            PictureRecord(
                sample["task_name"],
                sample["name"],
                {label: results[place]["value"] for label, results in measured.items()},
                stamp_of(sample),
            )
            for place, sample in enumerate(outputs)
        ]


def recorded_pictures(dataset: Dataset, found: Sequence[PictureRecord]) -> dict[int, PictureRecord]:
    """Records by the index of their picture in a `MultiTaskDataset`; those of changed or unknown pictures are left out.

    Raises:
        ConfigError: The dataset does not name its pictures.
    """
    by_picture = {(record.task, record.name, record.stamp): record for record in found}
    try:
        parts = zip(dataset.names, dataset.datasets, strict=True)
        pictures = [(name, entry["name"], stamp_of(entry)) for name, part in parts for entry in part.records]
    except (AttributeError, KeyError) as error:
        raise ConfigError(
            f"a test on {type(dataset).__name__} cannot be resumed: each of its `datasets` must list its pictures in "
            f"`records`, dicts with `name`, `lq_path` and `gt_path`. Test without --resume. ({error})"
        ) from error
    return {index: by_picture[picture] for index, picture in enumerate(pictures) if picture in by_picture}


def loader_of(loader: DataLoader, indices: Sequence[int]) -> DataLoader:
    """A loader like `loader`, of the items `indices` of its dataset in this order."""
    return DataLoader(
        loader.dataset,
        batch_size=loader.batch_size or 1,
        sampler=indices,
        num_workers=loader.num_workers,
        collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory,
        worker_init_fn=loader.worker_init_fn,
    )


def _settings(cfg: Mapping) -> dict:
    """What the values of a test depend on, beside the checkpoint."""
    return {
        "model": cfg.get("model"),
        "dataset": (cfg.get("test_dataloader") or {}).get("dataset"),
        "test_evaluator": cfg.get("test_evaluator"),
        "test_cfg": {key: value for key, value in (cfg.get("test_cfg") or {}).items() if key != "resume"},
        # Among them those that change how pictures are restored, or write beside the values.
        "custom_hooks": cfg.get("custom_hooks"),
    }
