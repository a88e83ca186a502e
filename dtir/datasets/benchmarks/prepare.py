"""Makes the files of a plan. Every file appears whole, the manifest last, so that a killed run is simply run again."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby, islice
from pathlib import Path

import numpy as np

from dtir.core.atomic import atomic_write
from dtir.core.errors import DatasetError
from dtir.datasets.pairing import some
from dtir.version import __version__

from .declare import Benchmark
from .manifest import MANIFEST, Manifest, read_manifest
from .plan import Output, Plan, plan_benchmark
from .recipes import RECIPES, decode, encode
from .scan import progress, scan_all
from .sources import Member, Source

FOLDERS = ("LQ", "GT", "mask")

# Names the plan that is being carried out, while there is no manifest yet.
JOURNAL = ".preparing.json"


def prepare(
    benchmark: Benchmark,
    sources: Sequence[Source],
    out: Path,
    copy: bool = False,
    layout: str = "",
    names: Mapping[str, set[str]] | None = None,
    workers: int = 1,
) -> list[Manifest]:
    """Prepares all parts of a benchmark that the sources hold, in `<out>/<split>/<task>/{LQ,GT}`.

    Args:
        benchmark: What to prepare.
        sources: Folders and archives.
        out: Folder of all prepared sets.
        copy: Whether to copy what a folder holds instead of linking to it; archives are always copied from.
        layout: Name of the layout, if not the first that fits.
        names: From `read_names`, to prepare a subset.
        workers: How many pictures are made, and read again for the checksums, at a time.

    Returns:
        The manifests that were written, one a part.

    Raises:
        DatasetError: The sources hold something else, or a folder something that is not of this benchmark.
    """
    members = [Member(source, name) for source in sources for name in source.names()]
    plans = plan_benchmark(benchmark, members, layout, names)
    for plan in plans:
        _check_folder(benchmark, plan, out / plan.part.folder)
    return [_carry_out(benchmark, plan, sources, out / plan.part.folder, copy, workers) for plan in plans]


def _carry_out(
    benchmark: Benchmark, plan: Plan, sources: Sequence[Source], folder: Path, copy: bool, workers: int
) -> Manifest:
    digest = _digest(benchmark, plan, sources, copy)
    todo = _left_to_do(plan, folder, digest)
    old = read_manifest(folder)
    if old and old.plan == digest and not todo:
        (folder / JOURNAL).unlink(missing_ok=True)
        return old
    _begin(folder, digest)
    _make_all(todo, folder, copy, workers)
    manifest = _describe(benchmark, plan, sources, folder, copy, workers, digest)
    manifest.write(folder)
    (folder / JOURNAL).unlink()
    return manifest


def _check_folder(benchmark: Benchmark, plan: Plan, folder: Path) -> None:
    old = read_manifest(folder)
    if old and old.benchmark != benchmark.name:
        raise DatasetError(
            f"'{folder}' holds {old.title} ({old.benchmark}): give another --out, or remove that folder first."
        )
    wanted = {output.target for output in plan.outputs}
    foreign = [str(folder / name) for name in _present(folder) if name not in wanted]
    if foreign:
        raise DatasetError(
            f"{len(foreign)} files are not of {benchmark.title}, layout '{plan.layout.name}': {some(foreign)}. "
            "Remove them, or give another --out."
        )


def _present(folder: Path) -> Iterator[str]:
    for name in FOLDERS:
        with suppress(FileNotFoundError):
            for file in sorted(os.listdir(folder / name)):
                if _is_leftover(file):
                    (folder / name / file).unlink()
                elif not file.startswith("."):
                    yield f"{name}/{file}"


def _is_leftover(name: str) -> bool:
    # What a killed run leaves of a file that it was writing.
    return name.startswith(".") and name.endswith(".tmp")


def _digest(benchmark: Benchmark, plan: Plan, sources: Sequence[Source], copy: bool) -> str:
    outputs = [
        (output.target, output.member.name, output.recipe, output.mask.name if output.mask else "")
        for output in plan.outputs
    ]
    content = [benchmark.name, plan.layout.name, copy, [source.stamp() for source in sources], outputs]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _left_to_do(plan: Plan, folder: Path, digest: str) -> list[Output]:
    journal = folder / JOURNAL
    manifest = read_manifest(folder)
    begun = journal.read_text(encoding="utf-8") if journal.is_file() else manifest.plan if manifest else None
    if begun != digest:
        return list(plan.outputs)
    return [output for output in plan.outputs if not (folder / output.target).exists()]


def _begin(folder: Path, digest: str) -> None:
    with atomic_write(folder / JOURNAL, "w", encoding="utf-8") as file:
        file.write(digest)
    # From here on the folder may differ from what an older manifest says.
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in FOLDERS[:2]:
        (folder / name).mkdir(exist_ok=True)


def _make_all(todo: Sequence[Output], folder: Path, copy: bool, workers: int) -> None:
    links = [not copy and not output.recipe and _file_of(output) is not None for output in todo]
    linked = [output for output, is_link in zip(todo, links, strict=True) if is_link]
    written = [output for output, is_link in zip(todo, links, strict=True) if not is_link]
    with progress(f"{folder.parent.name}/{folder.name}", len(todo)) as advance:
        for output in linked:
            _link(_file_of(output), folder / output.target)
            advance(1)
        masks = _read_masks(written)
        for source, outputs in _by_source(written):
            for name in _write_from(source, outputs, masks, folder, workers):
                advance(len(outputs[name]))


def _file_of(output: Output) -> Path | None:
    return output.member.source.file(output.member.name)


def _by_source(outputs: Sequence[Output]) -> Iterator[tuple[Source, dict[str, list[Output]]]]:
    ordered = sorted(outputs, key=lambda output: (id(output.member.source), output.member.name))
    for _, group in groupby(ordered, key=lambda output: id(output.member.source)):
        named: dict[str, list[Output]] = {}
        for output in group:
            named.setdefault(output.member.name, []).append(output)
        yield next(iter(named.values()))[0].member.source, named


def _read_masks(outputs: Sequence[Output]) -> dict[Member, bytes]:
    masks = {output.mask for output in outputs if output.mask}
    found: dict[Member, bytes] = {}
    for source in {mask.source for mask in masks}:
        for name, data in source.read([mask.name for mask in masks if mask.source is source]):
            found[Member(source, name)] = data
    return found


def _write_from(
    source: Source, outputs: Mapping[str, list[Output]], masks: Mapping[Member, bytes], folder: Path, workers: int
) -> Iterator[str]:
    contents = source.read(list(outputs))
    # Coding pictures leaves Python's lock, so threads suffice; a batch at a time bounds the memory.
    with ThreadPoolExecutor(workers) as pool:
        while batch := list(islice(contents, 4 * workers)):
            jobs = [pool.submit(_write_all, outputs[name], data, masks, folder) for name, data in batch]
            for (name, _), job in zip(batch, jobs, strict=True):
                job.result()
                yield name


def _write_all(outputs: Sequence[Output], data: bytes, masks: Mapping[Member, bytes], folder: Path) -> None:
    rgb = decode(data, str(outputs[0].member)) if any(output.recipe for output in outputs) else None
    for output in outputs:
        content = _made(output, rgb, masks) if output.recipe else data
        try:
            with atomic_write(folder / output.target) as file:
                file.write(content)
        except OSError as error:
            raise DatasetError(
                f"cannot write '{folder / output.target}': {error.strerror or error}. Make room and run it again; it "
                "goes on from here."
            ) from error


def _made(output: Output, rgb: np.ndarray, masks: Mapping[Member, bytes]) -> bytes:
    recipe = RECIPES[output.recipe][Path(output.target).parent.name]
    mask = decode(masks[output.mask], str(output.mask)) if output.mask else None
    return encode(recipe(rgb, Path(output.target).stem, mask))


def _link(source: Path, target: Path) -> None:
    scratch = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch.symlink_to(_relative(os.path.realpath(source), target.parent.resolve()))
        os.replace(scratch, target)
    except OSError as error:
        raise DatasetError(
            f"'{target}' cannot be made a link ({error.strerror or error}): prepare with --copy, or to another --out."
        ) from error


def _relative(source: str, folder: Path) -> str:
    try:
        return os.path.relpath(source, folder)
    except ValueError:
        # Another drive.
        return source


def _describe(
    benchmark: Benchmark, plan: Plan, sources: Sequence[Source], folder: Path, copy: bool, workers: int, digest: str
) -> Manifest:
    facts = scan_all([folder / output.target for output in plan.outputs], workers, "checksums")
    broken = [fact.error for fact in facts.values() if fact.error]
    if broken:
        raise DatasetError(f"{len(broken)} pictures of {benchmark.title} cannot be read: {some(broken)}")
    files = {
        path.relative_to(folder).as_posix(): {
            "bytes": fact.bytes,
            "width": fact.width,
            "height": fact.height,
            "sha256": fact.sha256,
        }
        for path, fact in facts.items()
    }
    return Manifest(
        benchmark=benchmark.name,
        title=benchmark.title,
        task=benchmark.task,
        folder=plan.part.folder,
        split=plan.part.split,
        pairs=plan.pairs,
        expected=list(plan.part.counts),
        layout=plan.layout.name,
        rule=plan.layout.rule,
        recipe="" if plan.layout.lq else plan.part.recipe,
        mode="copy" if copy else "link",
        sources=[str(source.path) for source in sources],
        tool=f"dtir {__version__}",
        plan=digest,
        files=files,
    )
