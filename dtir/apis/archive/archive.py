"""Many picture files restored by one wish: planned, logged, gone on with, in one process or several."""

import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from dtir.apis.archive.attempt import Done, attempt
from dtir.apis.archive.cluster import Cluster
from dtir.apis.archive.folder import (
    Failure,
    Inputs,
    Job,
    OnDone,
    OutputNames,
    RestoreOne,
    RestoreReport,
    output_names,
    plan_jobs,
)
from dtir.apis.archive.job_log import JobLog
from dtir.apis.archive.overlap import run_overlapped
from dtir.apis.archive.preview import Preview, preview_jobs
from dtir.apis.archive.progress import PictureProgress
from dtir.apis.archive.share import ALL, Share
from dtir.apis.archive.workers import Recipe, run_in_processes
from dtir.apis.restoring.file_restoring import FileRestorer
from dtir.apis.restoring.wish import OnTile
from dtir.core.atomic import remove_abandoned, require_writable_folder, temporary_of, temporary_stem
from dtir.core.digests import file_sha256
from dtir.core.errors import ConfigError
from dtir.imaging.listing import path_list

Begin = Callable[[Job], OnTile]
Run = Callable[[Sequence[Job], Begin], Iterator[tuple[Job, Done]]]


@dataclass(frozen=True)
class ArchiveOptions:
    """How many files are restored, beside what is done to each.

    Args:
        file_format: Extension of the outputs, such as "png"; None keeps that of each input.
        suffix: Added to the outputs' names, before the extension.
        quality: Quality of JPEG, WebP and AVIF, 1 to 100; None is 95 for JPEG and lossless for the others.
        log: A JSONL file that says what became of each picture, see `JobLog`. Pictures that it says are done with the
            same model and options are skipped.
        jobs: Processes, each of which loads the model; None is one, or on a cluster all that it has room for.
        imports: Modules that each process imports first.
        cluster: A cluster of Ray, on which the processes run; None is this machine.
        share: The part of the pictures that is restored; others are for other machines, with the same log.

    Raises:
        ConfigError: A number is out of range, the format is not known, or the suffix no part of a name.
    """

    file_format: str | None = None
    suffix: str = ""
    quality: int | None = None
    log: str | Path | None = None
    jobs: int | None = None
    imports: tuple[str, ...] = ()
    cluster: Cluster | None = None
    share: Share = ALL

    def __post_init__(self) -> None:
        if self.quality is not None and not 1 <= self.quality <= 100:
            raise ConfigError(f"quality={self.quality} is not in 1..100.")
        if self.jobs is not None and self.jobs < 1:
            raise ConfigError(f"jobs={self.jobs}: at least one process is needed.")
        self.names  # noqa: B018 - checks them.

    @property
    def names(self) -> OutputNames:
        """How the outputs are called."""
        return output_names(self.file_format, self.suffix)


ONE_BY_ONE = ArchiveOptions()


class Model(Protocol):
    """What an archive asks of the model that restores it: a part of `dtir.apis.RestorationInferencer`.

    Attributes:
        model_path: Its file; None where it has none.
        wished_device: Where the caller wants it to run; None leaves the choice to each machine.
        options: All that its results depend on, beside the file.
    """

    model_path: Path | None
    wished_device: str | None
    options: dict

    def recipe(self, restorer: FileRestorer, device: str | None = None) -> tuple[Callable[..., FileRestorer], tuple]:
        """How another process makes `restorer`: a function and its arguments, to be pickled."""


class Archive:
    """Files and folders to be restored.

    Args:
        model: The model.
        restorer: Restores one file.
        inputs: Files and folders.
        out_dir: Folder of the outputs, or the file of one.
        recursive: Also takes the pictures in sub-folders.
        options: See `ArchiveOptions`.

    Raises:
        TaskError, ConfigError: What is wished cannot be done by the model; or `out_dir` is a file of several.
        ImageFileError: A path is empty.
    """

    def __init__(
        self,
        model: Model,
        restorer: FileRestorer,
        inputs: Inputs,
        out_dir: str | Path,
        recursive: bool,
        options: ArchiveOptions,
    ) -> None:
        restorer.check()
        self.model, self.restorer, self.options = model, restorer, options
        out = path_list(out_dir)[0]
        plan = plan_jobs(path_list(inputs), out, recursive, options.names)
        self.folder = out.parent if [job.target for job in plan.jobs] == [out] else out
        self.jobs = [job for job in plan.jobs if options.share.holds(job.target)]
        self.failed = [failure for failure in plan.failed if options.share.holds(failure.path)]
        self.left_out = plan.left_out

    def restore(self, progress: bool = False, on_done: OnDone | None = None) -> RestoreReport:
        """Restores all that is to be done; a picture that fails does not stop the others.

        Args:
            progress: Shows progress with the time left on standard error.
            on_done: Called as `on_done(job, outcome)` after each picture that was restored or left as it is.

        Raises:
            ConfigError: The folder of the outputs or the log cannot be written.
        """
        log = JobLog(self.options.log, self._settings()) if self.options.log else None
        todo, done, existing = left_to_do(self.jobs, log, self.restorer.overwrite)
        if log is not None:
            log.begin()
        if todo:
            require_writable_folder(self.folder, "the output folder")
        if log is not None:
            remove_remains(todo)
            for job in existing:
                if not log.existed(job):
                    log.add_existing(job)
        skipped = [job.target for job in (*done, *existing)]
        report = RestoreReport(skipped=skipped, failed=self.failed, left_out=self.left_out)
        return restore_jobs(todo, report, self._run(), log, progress, on_done)

    def preview(self) -> Preview:
        """What `restore` would do, from the files' headers and a measured sample; nothing is written."""
        log = JobLog(self.options.log, self._settings()) if self.options.log else None
        todo, done, existing = left_to_do(self.jobs, log, self.restorer.overwrite)
        return preview_jobs(todo, [*done, *existing], self.failed, self.restorer, self.options.jobs or 1)

    def _run(self) -> Run:
        # What is skipped has been sorted out.
        restorer, model, options = self.restorer.anew(), self.model, self.options
        if options.cluster is not None:
            return functools.partial(self._run_on_cluster, restorer)
        if options.jobs in (None, 1):
            return functools.partial(run_overlapped, restorer)
        recipe = Recipe(*model.recipe(restorer), options.imports)
        return lambda jobs, begin: run_in_processes(jobs, recipe, options.jobs)

    def _run_on_cluster(self, restorer: FileRestorer, jobs: Sequence[Job], begin: Begin) -> Iterator[tuple[Job, Done]]:
        from dtir.apis.archive.ray_pipeline import run_on_cluster

        model, options = self.model, self.options

        def recipe(device: str) -> Recipe:
            return Recipe(*model.recipe(restorer, device), options.imports)

        needed = [model.model_path] if model.model_path else []
        return run_on_cluster(jobs, recipe, options.cluster, options.jobs, model.wished_device, needed)

    def _settings(self) -> dict:
        """All that the outputs depend on, beside the inputs."""
        path = self.model.model_path
        model = {"model": path and path.name, "model_sha256": path and file_sha256(path)}
        return {**model, **self.model.options, **self.restorer.settings()}


def left_to_do(jobs: Iterable[Job], log: JobLog | None, overwrite: bool) -> tuple[list[Job], list[Job], list[Job]]:
    """The jobs that are to be done, those that the log says are done, and those whose outputs were there before."""
    todo, done, existing = [], [], []
    for job in jobs:
        if log is not None and log.is_done(job):
            done.append(job)
        elif overwrite or (log is not None and log.wrote(job)) or not os.path.exists(job.target):
            todo.append(job)
        else:
            existing.append(job)
    return todo, done, existing


def remove_remains(jobs: Iterable[Job]) -> None:
    """Removes what a run that was killed left half-written of the jobs' outputs, not what another is writing now."""
    targets = {job.target.with_name(temporary_stem(job.target.name)) for job in jobs}
    for folder in {target.parent for target in targets}:
        for path in folder.iterdir() if folder.is_dir() else ():
            stem = temporary_of(path.name)
            if stem and folder / stem in targets:
                remove_abandoned(path)


def restore_jobs(
    jobs: Sequence[Job],
    report: RestoreReport,
    run: Run,
    log: JobLog | None = None,
    progress: bool = False,
    on_done: OnDone | None = None,
) -> RestoreReport:
    """Adds to a report what `run(jobs, begin)` yields of each job."""
    with PictureProgress(jobs, progress) as display:
        for job, done in run(jobs, display.begin):
            result = done.result
            report.add(job, result)
            if log is not None and result:
                _log(log, job, done)
            display.finish(job, getattr(result, "pixels", 0))
            if on_done is not None and result and not isinstance(result, Failure):
                on_done(job, result)
    return report


def _log(log: JobLog, job: Job, done: Done) -> None:
    try:
        log.add(job, done)
    except ConfigError:
        # An output that the log does not know would be taken for somebody else's, and stay as it is.
        if not isinstance(done.result, Failure):
            job.target.unlink(missing_ok=True)
        raise


def restore_all(
    restore_one: RestoreOne,
    inputs: Inputs,
    out_dir: str | Path,
    recursive: bool = False,
    progress: bool = False,
) -> RestoreReport:
    """Calls `restore_one(source, target, on_tile)` for every picture; errors of one do not stop the rest.

    What it returns is false where the output existed and stays.

    Raises:
        ConfigError: `out_dir` is not a folder.
    """
    plan = plan_jobs(path_list(inputs), path_list(out_dir)[0], recursive)
    report = RestoreReport(failed=plan.failed, left_out=plan.left_out)
    return restore_jobs(plan.jobs, report, functools.partial(run_here, restore_one), progress=progress)


def run_here(restore_one: RestoreOne, jobs: Iterable[Job], begin: Begin) -> Iterator[tuple[Job, Done]]:
    """Yields every job with what became of it, one after the other."""
    for job in jobs:
        yield job, attempt(restore_one, job, begin(job))
