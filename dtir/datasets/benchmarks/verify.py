"""Finds what is wrong with prepared sets: counts, partners, sizes, duplicates, damage, test pictures in training."""

import os
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dtir.core.errors import DatasetError
from dtir.datasets.pairing import some
from dtir.imaging.listing import list_images, name_in

from .declare import Benchmark, Part
from .manifest import Manifest, read_manifest
from .scan import PictureFacts, scan_all

# Bits of 64 in which the average hashes of near copies may differ.
_NEAR = 2

CHECKS = ("count", "partners", "unreadable", "sizes", "duplicates", "checksums", "leaks")


@dataclass
class SetReport:
    """What was found in one folder with LQ and GT.

    Attributes:
        folder: `<split>/<name>`, the last two parts of its path.
        benchmark: Name of the benchmark, empty where it is not known.
        pairs: Number of complete pairs.
        expected: Numbers of pairs that are right, empty where it is not known.
        problems: Sentences by check, one of `CHECKS`.
        notices: Sentences on what may be right.
    """

    folder: str
    benchmark: str
    pairs: int = 0
    expected: Sequence[int] = ()
    problems: dict[str, list[str]] = field(default_factory=lambda: {check: [] for check in CHECKS})
    notices: list[str] = field(default_factory=list)

    @property
    def is_right(self) -> bool:
        """Whether there is no problem."""
        return not any(self.problems.values())


@dataclass(frozen=True)
class _Set:
    path: Path
    report: SetReport
    lq: Mapping[str, Path]
    gt: Mapping[str, Path]
    manifest: Manifest | None

    @property
    def is_training(self) -> bool:
        return "train" in self.report.folder.split("/")


def verify(
    root: Path,
    benchmarks: Mapping[str, Benchmark],
    only: Benchmark | None = None,
    checksums: bool = False,
    workers: int = 1,
) -> list[SetReport]:
    """Verifies all sets below `root`, or those of one benchmark.

    Args:
        root: Folder with `<split>/<task>/{LQ,GT}`, or any folders with LQ and GT in them.
        benchmarks: Known benchmarks, for the expected counts.
        only: The benchmark to verify; its missing parts are then a problem.
        checksums: Whether to compare every file with the manifest.
        workers: Processes.

    Raises:
        DatasetError: There is no such folder, or nothing to verify in it.
    """
    sets = [_open_set(path, benchmarks) for path in _find_sets(root)]
    if only:
        sets = [one for one in sets if one.report.benchmark == only.name]
    if not sets:
        what = only.title if only else "folders with LQ and GT"
        raise DatasetError(f"no {what} in '{root}': give the folder that prepare.py wrote to (--out).")
    facts = scan_all([path for one in sets for path in (*one.lq.values(), *one.gt.values())], workers, "pictures")
    for one in sets:
        _check_set(one, facts)
        if checksums:
            _check_sums(one, facts)
    _check_leaks(sets, facts)
    reports = [one.report for one in sets]
    return reports + (_missing_parts(only, reports) if only else [])


def _find_sets(root: Path) -> list[Path]:
    if not root.is_dir():
        raise DatasetError(f"no folder '{root}': give the folder that prepare.py wrote to (--out).")
    found = {Path(path) for path, subfolders, _ in os.walk(root, followlinks=True) if {"LQ", "GT"} & set(subfolders)}
    return sorted(found)


def _open_set(path: Path, benchmarks: Mapping[str, Benchmark]) -> _Set:
    manifest = read_manifest(path)
    folder = "/".join(path.resolve().parts[-2:])
    name = manifest.benchmark if manifest else _known_by_folder(folder, benchmarks)
    part = _part_of(benchmarks.get(name), manifest.folder if manifest else folder)
    report = SetReport(folder, name, expected=part.counts if part else ())
    return _Set(path, report, _pictures(path / "LQ", report), _pictures(path / "GT", report), manifest)


def _known_by_folder(folder: str, benchmarks: Mapping[str, Benchmark]) -> str:
    return next((name for name, benchmark in benchmarks.items() if _part_of(benchmark, folder)), "")


def _part_of(benchmark: Benchmark | None, folder: str) -> Part | None:
    parts = benchmark.parts if benchmark else ()
    return next((part for part in parts if folder in part.folders), None)


def _pictures(folder: Path, report: SetReport) -> dict[str, Path]:
    named: dict[str, Path] = {}
    for path in list_images(folder) if folder.is_dir() else ():
        name = name_in(folder, path)
        if name in named:
            report.problems["duplicates"].append(f"{_short(path)} has the name of {_short(named[name])}")
        named.setdefault(name, path)
    return named


def _check_set(one: _Set, facts: Mapping[Path, PictureFacts]) -> None:
    problems = one.report.problems
    both = [name for name in one.gt if name in one.lq]
    one.report.pairs = len(both)
    if one.report.expected and len(both) not in one.report.expected:
        problems["count"].append(f"{len(both)} pairs, expected {' or '.join(map(str, one.report.expected))}")
    problems["partners"] += [f"LQ/{path.name} has no GT" for name, path in one.lq.items() if name not in one.gt]
    problems["partners"] += [f"GT/{path.name} has no LQ" for name, path in one.gt.items() if name not in one.lq]
    problems["unreadable"] += [facts[path].error for path in _paths(one) if facts[path].error]
    for name in both:
        _check_pair(one, facts[one.lq[name]], facts[one.gt[name]], name)
    _check_duplicates(one, facts)


def _check_pair(one: _Set, lq: PictureFacts, gt: PictureFacts, name: str) -> None:
    if lq.error or gt.error:
        return
    if (lq.width, lq.height) != (gt.width, gt.height):
        one.report.problems["sizes"].append(
            f"{name}: LQ is {lq.width}x{lq.height}, GT is {gt.width}x{gt.height} (width x height)"
        )
    if lq.content == gt.content:
        one.report.notices.append(f"{name}: LQ and GT show the same picture")


def _check_duplicates(one: _Set, facts: Mapping[Path, PictureFacts]) -> None:
    for paths in _by_content(one.lq.values(), facts).values():
        if len(paths) > 1:
            one.report.problems["duplicates"].append(f"same picture: {', '.join(map(_short, paths))}")
    shared = [paths for paths in _by_content(one.gt.values(), facts).values() if len(paths) > 1]
    if shared:
        one.report.notices.append(
            f"{len(shared)} GTs belong to several LQs: {some(', '.join(map(_short, paths)) for paths in shared)}"
        )


def _check_sums(one: _Set, facts: Mapping[Path, PictureFacts]) -> None:
    problems = one.report.problems["checksums"]
    if one.manifest is None:
        problems.append("no manifest.json to compare with: prepare the set again")
        return
    there = {path.relative_to(one.path).as_posix(): facts[path] for path in _paths(one)}
    stated = {name: entry for name, entry in one.manifest.files.items() if name.split("/")[0] in ("LQ", "GT")}
    problems += [f"{name} is gone" for name in stated if name not in there]
    problems += [f"{name} is not in the manifest" for name in there if name not in stated]
    problems += [
        f"{name} was changed"
        for name, fact in there.items()
        if name in stated and not fact.error and fact.sha256 != stated[name]["sha256"]
    ]


def _check_leaks(sets: Sequence[_Set], facts: Mapping[Path, PictureFacts]) -> None:
    train = [path for one in sets if one.is_training for path in one.gt.values() if not facts[path].error]
    trained = _by_content(train, facts)
    for one in sets:
        if one.is_training:
            continue
        tested = [path for path in one.gt.values() if not facts[path].error]
        one.report.problems["leaks"] += [
            f"{_short(path)} is also in training: {some(map(str, trained[facts[path].content]))}"
            for path in tested
            if facts[path].content in trained
        ]
        one.report.notices += _near_copies(
            [path for path in tested if facts[path].content not in trained], train, facts
        )


def _near_copies(tested: Sequence[Path], train: Sequence[Path], facts: Mapping[Path, PictureFacts]) -> list[str]:
    if not tested or not train:
        return []
    signs = _signs([facts[path].average_hash for path in train])
    notices = []
    for path in tested:
        differing = (64 - signs @ _signs([facts[path].average_hash])[0]) / 2
        nearest = int(differing.argmin())
        if differing[nearest] <= _NEAR:
            notices.append(f"{_short(path)} looks like {train[nearest]} of the training part")
    return notices


def _signs(hashes: Iterable[int]) -> np.ndarray:
    """(N, 64) of -1 and 1: the inner product of two rows is 64 less twice the number of differing bits."""
    data = b"".join(value.to_bytes(8, "big") for value in hashes)
    return np.unpackbits(np.frombuffer(data, np.uint8)).reshape(-1, 64).astype(np.float32) * 2 - 1


def _missing_parts(only: Benchmark, reports: Sequence[SetReport]) -> list[SetReport]:
    there = {report.folder for report in reports}
    missing = [
        SetReport(part.folder, only.name, 0, part.counts) for part in only.parts if there.isdisjoint(part.folders)
    ]
    for report in missing:
        report.problems["count"].append("this part is missing: prepare it")
    return missing


def _by_content(paths: Iterable[Path], facts: Mapping[Path, PictureFacts]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for path in paths:
        if not facts[path].error:
            found[facts[path].content].append(path)
    return dict(found)


def _paths(one: _Set) -> list[Path]:
    return [*one.lq.values(), *one.gt.values()]


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
