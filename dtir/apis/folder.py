"""Which pictures of files and folders are restored where to, and doing so one by one past failures."""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from dtir.core.errors import ConfigError, DtirError, ImageFileError
from dtir.imaging.formats import IMAGE_EXTENSIONS
from dtir.imaging.listing import left_out, list_images, path_list


class Job(NamedTuple):
    """A picture and the file its restoration is written to."""

    source: Path
    target: Path


class Failure(NamedTuple):
    """An input that was not restored, and why."""

    path: Path
    reason: str


@dataclass
class RestoreReport:
    """What became of the inputs.

    Attributes:
        restored: Outputs that were written.
        skipped: Outputs that were there and stayed.
        failed: Inputs that were not restored.
        left_out: How many files of input folders are no pictures that are read here, by extension ('' without).
    """

    restored: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


Inputs = str | Path | Iterable[str | Path]
OnTile = Callable[[int, int], None]
RestoreOne = Callable[[Path, Path, OnTile], object]
OnDone = Callable[[Job, object], None]


def restore_all(
    restore_one: RestoreOne,
    inputs: Inputs,
    out_dir: str | Path,
    recursive: bool = False,
    progress: bool = False,
    on_done: OnDone | None = None,
) -> RestoreReport:
    """Calls `restore_one(source, target, on_tile)` for every picture; errors of one do not stop the rest.

    What it returns is false where the output existed and stays; otherwise it goes to `on_done(job, result)`.

    Raises:
        ConfigError: `out_dir` is not a folder.
    """
    inputs = path_list(inputs)
    jobs, failed = plan_jobs(inputs, Path(out_dir), recursive)
    folders = [path for path in inputs if path.is_dir()]
    report = RestoreReport(failed=failed, left_out=sum((left_out(path, recursive) for path in folders), Counter()))
    with _progress(shown=progress) as display:
        pictures = display.add_task("pictures", total=len(jobs))
        tiles = display.add_task("tiles", visible=False)
        for number, job in enumerate(jobs):
            display.update(tiles, description=job.source.name)
            try:
                result = restore_one(*job, _tile_callback(display, pictures, tiles, number))
            except (DtirError, OSError, MemoryError) as error:
                report.failed.append(Failure(job.source, str(error) or type(error).__name__))
            else:
                (report.restored if result else report.skipped).append(job.target)
                if result and on_done is not None:
                    on_done(job, result)
            display.update(pictures, completed=number + 1)
    return report


def plan_jobs(inputs: Inputs, out_dir: Path, recursive: bool = False) -> tuple[list[Job], list[Failure]]:
    """Lists the pictures to restore, and the inputs that cannot be.

    The output of a single file may be named, by an extension of pictures. Otherwise a file is written to `out_dir`
    under its own name, a folder's pictures under their paths relative to that folder.
    Pictures inside `out_dir` are not inputs when `out_dir` lies inside an input folder. Of two different pictures
    that would be written to one file, the second is a failure.

    Raises:
        ConfigError: `out_dir` is not a folder.
    """
    inputs = path_list(inputs)
    if _is_file_name(out_dir) and len(inputs) == 1 and inputs[0].is_file():
        return [Job(inputs[0], out_dir)], []
    if out_dir.exists() and not out_dir.is_dir():
        raise ConfigError(f"the output '{out_dir}' is a file; a folder is needed.")
    jobs: dict[Path, Job] = {}
    failed = []
    for path in inputs:
        try:
            found = _folder_jobs(path, out_dir, recursive) if path.is_dir() else [_file_job(path, out_dir)]
        except ImageFileError as error:
            failed.append(Failure(path, str(error)))
            continue
        for job in found:
            first = jobs.setdefault(job.target, job)
            if first.source.resolve() != job.source.resolve():
                reason = f"its output {job.target} is already that of '{first.source}'; restore it to another folder."
                failed.append(Failure(job.source, reason))
    return list(jobs.values()), failed


def _is_file_name(out: Path) -> bool:
    return out.suffix.lower() in IMAGE_EXTENSIONS and not out.is_dir()


def _file_job(path: Path, out_dir: Path) -> Job:
    if not path.is_file():
        raise ImageFileError(f"no file or folder '{path}'; check the path.")
    if path.suffix.lower() not in IMAGE_EXTENSIONS:
        raise ImageFileError(f"'{path}' has no known picture extension; known are {', '.join(IMAGE_EXTENSIONS)}.")
    return Job(path, out_dir / path.name)


def _folder_jobs(folder: Path, out_dir: Path, recursive: bool) -> list[Job]:
    images = list_images(folder, recursive)
    outputs = out_dir.resolve()
    if folder.resolve() in outputs.parents:
        images = [image for image in images if outputs not in Path(os.path.realpath(image)).parents]
    if not images:
        hint = "" if recursive else "; pictures in its sub-folders are restored with --recursive (recursive=True)"
        raise ImageFileError(f"folder '{folder}' has no pictures ({', '.join(IMAGE_EXTENSIONS)}){hint}.")
    return [Job(image, out_dir / image.relative_to(folder)) for image in images]


def _progress(shown: bool) -> Progress:
    console = Console(stderr=True)
    return Progress(
        # A file name may hold square brackets, which are no markup.
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        disable=not (shown and console.is_terminal),
        transient=True,
    )


def _tile_callback(display: Progress, pictures: TaskID, tiles: TaskID, number: int) -> OnTile:
    def on_tile(done: int, total: int) -> None:
        display.update(tiles, completed=done, total=total, visible=total > 1)
        # Fractions of a picture make the time left known while the first large picture is still in work.
        display.update(pictures, completed=number + done / total)

    return on_tile
