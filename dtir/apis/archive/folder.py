"""Which pictures of files and folders are restored where to, and what became of them."""

import itertools
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from dtir.apis.restoring.wish import OnTile
from dtir.core.errors import ConfigError, ImageFileError
from dtir.imaging.formats import IMAGE_EXTENSIONS
from dtir.imaging.listing import path_list, survey


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
        left: Outputs that are as their inputs, with which nothing was to be done.
        skipped: Outputs that were there and stayed.
        failed: Inputs that were not restored.
        left_out: How many files of input folders are no pictures that are read here, by extension ('' without).
    """

    restored: list[Path] = field(default_factory=list)
    left: list[Path] = field(default_factory=list)
    skipped: list[Path] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    def add(self, job: Job, result: object) -> None:
        """Counts what became of a picture: a `Failure`, something false where the output existed, or a result."""
        if isinstance(result, Failure):
            self.failed.append(result)
        else:
            kept = self.restored if getattr(result, "changed", True) else self.left
            (kept if result else self.skipped).append(job.target)


Inputs = str | Path | Iterable[str | Path]
RestoreOne = Callable[[Path, Path, OnTile], object]
OnDone = Callable[[Job, object], None]


class OutputNames(NamedTuple):
    """How outputs are called: as their inputs, but for these.

    Attributes:
        extension: Extension of another format, with its dot; "" keeps that of the input.
        suffix: Added before the extension.
    """

    extension: str = ""
    suffix: str = ""

    def of(self, path: Path) -> Path:
        """The output's path of an input's."""
        return path.with_name(f"{path.stem}{self.suffix}{self.extension or path.suffix}")


SAME_NAMES = OutputNames()


def output_names(file_format: str | None = None, suffix: str = "") -> OutputNames:
    """The names that options ask for.

    Args:
        file_format: An extension, with or without its dot, such as "png"; None keeps those of the inputs.
        suffix: Added before the extension.

    Raises:
        ConfigError: The format is none that is written, or the suffix holds a path separator.
    """
    extension = f".{file_format.lower().lstrip('.')}" if file_format else ""
    if extension and extension not in IMAGE_EXTENSIONS:
        known = ", ".join(known.lstrip(".") for known in IMAGE_EXTENSIONS)
        raise ConfigError(f"format '{file_format}' is not written; use one of {known}.")
    if any(separator in suffix for separator in (os.sep, os.altsep) if separator):
        raise ConfigError(f"the suffix '{suffix}' holds a path separator; folders are named by the output.")
    return OutputNames(extension, suffix)


class Plan(NamedTuple):
    """What is to be done.

    Attributes:
        jobs: The pictures to restore.
        failed: The inputs that cannot be.
        left_out: As in `RestoreReport`.
    """

    jobs: list[Job]
    failed: list[Failure]
    left_out: Counter[str]


def plan_jobs(inputs: Inputs, out_dir: Path, recursive: bool = False, names: OutputNames = SAME_NAMES) -> Plan:
    """Lists the pictures to restore, and the inputs that cannot be.

    The output of a single file may be named, by an extension of pictures. Otherwise a file is written to `out_dir`
    under its own name, a folder's pictures under their paths relative to that folder.
    Pictures inside `out_dir` are not inputs when `out_dir` lies inside an input folder. Of two different pictures
    that would be written to one file, the second is a failure; so is one that would replace another input.

    Raises:
        ConfigError: `out_dir` is not a folder, or names a file of several pictures, or beside `names` that say
            otherwise.
    """
    inputs = path_list(inputs)
    if _is_file_name(out_dir) and len(inputs) == 1 and inputs[0].is_file():
        if names.of(out_dir) != out_dir:
            raise ConfigError(f"the output '{out_dir}' is a file's whole name; leave out the format and the suffix.")
        return Plan([Job(inputs[0], out_dir)], [], Counter())
    if out_dir.exists() and not out_dir.is_dir():
        raise ConfigError(f"the output '{out_dir}' is a file; a folder is needed.")
    if _is_file_name(out_dir) and (len(inputs) > 1 or any(path.is_dir() for path in inputs)):
        raise ConfigError(
            f"the output '{out_dir}' is the name of one picture, and the input is not one file; name a folder."
        )
    plan, places = Plan([], [], Counter()), Places()
    jobs: dict[Path, Job] = {}
    doubles: list[Job] = []
    for job in _found_jobs(inputs, recursive, names, plan, out_dir, places):
        first = jobs.setdefault(job.target, job)
        if first is job:
            continue
        doubles.append(job)
        if places.of(first.source) != places.of(job.source):
            reason = f"its output {job.target} is already that of '{first.source}'; restore it to another folder."
            plan.failed.append(Failure(job.source, reason))
    for job in _replacing(jobs.values(), doubles, places):
        reason = f"its output {job.target} would replace another input; choose another output folder."
        plan.failed.append(Failure(jobs.pop(job.target).source, reason))
    plan.jobs.extend(jobs.values())
    return plan


class Places:
    """Where files really are, links followed; folders are looked up once, and not for every file in them."""

    def __init__(self) -> None:
        self.folders: dict[Path, str] = {}

    def of(self, path: Path) -> str:
        """The real path of a file, which need not be there."""
        if path.is_symlink():
            return os.path.realpath(path)
        return os.path.join(self.folder_of(path), path.name)

    def folder_of(self, path: Path) -> str:
        """The real path of the folder in which a path is."""
        folder = path.parent
        if folder not in self.folders:
            self.folders[folder] = os.path.realpath(folder)
        return self.folders[folder]


def _found_jobs(
    inputs: Iterable[Path], recursive: bool, names: OutputNames, plan: Plan, out_dir: Path, places: Places
) -> Iterator[Job]:
    for path in inputs:
        try:
            if path.is_dir():
                found = survey(path, recursive)
                plan.left_out.update(found.left_out)
                plan.failed.extend(Failure(Path(folder), reason) for folder, reason in found.unread.items())
                jobs = _folder_jobs(path, found.images, out_dir, recursive, places)
            else:
                jobs = [_file_job(path, out_dir)]
        except ImageFileError as error:
            plan.failed.append(Failure(path, str(error)))
            continue
        yield from (job._replace(target=names.of(job.target)) for job in jobs)


def _replacing(jobs: Collection[Job], doubles: Sequence[Job], places: Places) -> list[Job]:
    """The jobs whose outputs would replace other inputs, those of `doubles` too.

    A picture that would replace itself is refused when it is restored.
    """
    folders = {os.path.dirname(places.of(job.source)) for job in itertools.chain(jobs, doubles)}
    suspects = [job for job in jobs if os.path.dirname(places.of(job.target)) in folders]
    if not suspects:
        return []
    sources = {places.of(job.source) for job in itertools.chain(jobs, doubles)}
    return [job for job in suspects if places.of(job.source) != places.of(job.target) in sources]


def _is_file_name(out: Path) -> bool:
    return out.suffix.lower() in IMAGE_EXTENSIONS and not out.is_dir()


def _file_job(path: Path, out_dir: Path) -> Job:
    if not path.is_file():
        raise ImageFileError(f"no file or folder '{path}'; check the path.")
    if path.suffix.lower() not in IMAGE_EXTENSIONS:
        raise ImageFileError(f"'{path}' has no known picture extension; known are {', '.join(IMAGE_EXTENSIONS)}.")
    return Job(path, out_dir / path.name)


def _folder_jobs(folder: Path, images: Sequence[Path], out_dir: Path, recursive: bool, places: Places) -> Sequence[Job]:
    outputs = out_dir.resolve()
    if folder.resolve() in outputs.parents:
        inside = os.path.join(outputs, "")
        images = [image for image in images if not places.of(image).startswith(inside)]
    if not images:
        hint = "" if recursive else "; pictures in its sub-folders are restored with --recursive (recursive=True)"
        raise ImageFileError(f"folder '{folder}' has no pictures ({', '.join(IMAGE_EXTENSIONS)}){hint}.")
    return [Job(image, out_dir / image.relative_to(folder)) for image in images]
