"""From the pictures in the sources to the files of a part: which layout it is, who belongs to whom, what goes where."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

from dtir.core.errors import DatasetError
from dtir.datasets.pairing import Matched, describe_alone, match_pairs, some
from dtir.imaging.listing import natural_key
from dtir.tasks import folder_names

from .declare import Benchmark, Layout, Part
from .recipes import RECIPES, seed_of
from .sources import Member


@dataclass(frozen=True)
class Output:
    """A file to be made.

    Attributes:
        target: Path within the part's folder, "LQ/1.png" for example.
        member: The picture that it is, or is made of.
        recipe: Key of `RECIPES` where it is made, empty where it is the picture itself.
        mask: The mask that the recipe uses.
    """

    target: str
    member: Member
    recipe: str = ""
    mask: Member | None = None


@dataclass(frozen=True)
class Plan:
    """All files of a part.

    Attributes:
        part: The part.
        layout: The arrangement that the sources have.
        outputs: Its files.
    """

    part: Part
    layout: Layout
    outputs: tuple[Output, ...]

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return sum(output.target.startswith("GT/") for output in self.outputs)


def plan_benchmark(
    benchmark: Benchmark, members: Sequence[Member], layout: str = "", names: Mapping[str, set[str]] | None = None
) -> list[Plan]:
    """Plans all parts that the sources hold.

    Args:
        benchmark: The benchmark.
        members: Pictures of all sources.
        layout: Name of a layout to take instead of the first that fits.
        names: From `read_names`, to take a subset.

    Raises:
        DatasetError: No part is there, pictures have no partner, or two would get one name.
    """
    members = sorted(members, key=lambda member: natural_key(member.name))
    plans = [
        _plan_part(part, part.all_layouts(benchmark.task), members, layout, names or {}) for part in benchmark.parts
    ]
    found = [plan for plan in plans if plan is not None]
    if not found:
        raise DatasetError(_nothing_found(benchmark, members, layout))
    return found


def read_names(path: Path, task: str) -> dict[str, set[str]]:
    """Reads a list of pictures: one name a line, or DA-CLIP's table of paths `.../<split>/<task>/LQ/<name>` and titles.

    Returns:
        Names without extension by split, under "" where the list names no split.

    Raises:
        DatasetError: It cannot be read, or has no pictures of the task.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"the list of names '{path}' cannot be read: {error}.") from error
    paths = [PurePosixPath(line.split("\t")[0].strip()) for line in lines if line.strip()]
    names: dict[str, set[str]] = {}
    for entry in paths:
        if len(entry.parts) == 1 or set(folder_names(task)) & set(entry.parts):
            names.setdefault(_split_of(entry), set()).add(entry.stem)
    if not names:
        raise DatasetError(f"'{path}' names no pictures of the task '{task}'; expected one name, or path, a line.")
    return names


def _split_of(entry: PurePosixPath) -> str:
    return next((split for split in ("train", "val", "generalization") if split in entry.parts[:-1]), "")


def _plan_part(
    part: Part, layouts: Sequence[Layout], members: Sequence[Member], wanted: str, names: Mapping[str, set[str]]
) -> Plan | None:
    misfit = None
    for layout in layouts:
        if wanted and layout.name != wanted:
            continue
        try:
            outputs = _outputs(part, layout, members, names)
        except _OtherNamesError as error:
            misfit = misfit or error
            continue
        if outputs:
            return Plan(part, layout, tuple(outputs))
    if misfit:
        raise misfit
    return None


class _OtherNamesError(DatasetError):
    """The folders of a layout are there, but no two names make a pair by its rule."""


def _outputs(part: Part, layout: Layout, members: Sequence[Member], names: Mapping[str, set[str]]) -> list[Output]:
    gt = _matching(members, layout.gt, layout.without)
    if not layout.lq:
        return _derived(part, _select(part, gt, names), layout, members) if gt else []
    lq = _matching(members, layout.lq, layout.without)
    if not (lq and gt):
        return []
    lq = _take(lq, names, part.split)
    matched = match_pairs(lq, gt, layout.rule)
    is_subset = bool(names)
    if matched.lq_alone or (matched.gt_alone and not is_subset):
        message = describe_alone(matched, layout.lq[0], layout.gt[0], layout.rule)
        # Where some names do make pairs, another layout would hide that files are missing.
        kind = DatasetError if matched.pairs else _OtherNamesError
        raise kind(f"{part.folder}, layout '{layout.name}': {message} The archive may be incomplete.")
    masks = _matching(members, layout.mask, layout.without)
    return _with_targets(_paired(matched, masks))


def _paired(matched: Matched[Member], masks: Mapping[str, Member]) -> Iterator[Output]:
    for name, lq, gt in matched.pairs:
        yield Output(f"LQ/{_flat(name)}{lq.suffix}", lq)
        yield Output(f"GT/{_flat(name)}{gt.suffix}", gt)
        if name in masks:
            yield Output(f"mask/{_flat(name)}{masks[name].suffix}", masks[name])


def _derived(part: Part, gt: Mapping[str, Member], layout: Layout, members: Sequence[Member]) -> list[Output]:
    masks = list(_matching(members, layout.mask, ()).values())
    if layout.mask and not masks:
        raise DatasetError(
            f"{part.folder}: the sources hold pictures but no masks; add the folder or archive with "
            f"{' or '.join(layout.mask)} as another --source."
        )
    made = (
        Output(
            f"{folder}/{_flat(name)}{'.png' if how else member.suffix}",
            member,
            part.recipe if how else "",
            _mask_of(part, masks, number, name) if how else None,
        )
        for number, (name, member) in enumerate(gt.items())
        for folder, how in RECIPES[part.recipe].items()
    )
    return _with_targets(made)


def _mask_of(part: Part, masks: Sequence[Member], number: int, name: str) -> Member | None:
    if not masks:
        return None
    return masks[(number if part.split == "val" else seed_of(name)) % len(masks)]


def _select(part: Part, gt: Mapping[str, Member], names: Mapping[str, set[str]]) -> dict[str, Member]:
    if not part.held_out:
        return _take(gt, names, part.split)
    first = {_flat(name) for name in list(gt)[: part.held_out]}
    held_out = _take(gt, {"val": names.get("val") or names.get("") or first}, "val")
    if part.split == "val":
        return held_out
    rest = {name: member for name, member in gt.items() if name not in held_out}
    return _take(rest, {"train": names["train"]}, "train") if "train" in names else rest


def _take(pictures: Mapping[str, Member], names: Mapping[str, set[str]], split: str) -> dict[str, Member]:
    wanted = names.get(split) or names.get("")
    if not wanted:
        return dict(pictures)
    taken = {name: member for name, member in pictures.items() if _flat(name) in wanted}
    missing = sorted(wanted - {_flat(name) for name in taken}, key=natural_key)
    # A list without splits may speak of another part of the benchmark.
    if missing and split in names:
        raise DatasetError(f"{len(missing)} names of the list are not in the sources: {some(missing)}.")
    return taken


def _matching(members: Iterable[Member], patterns: Sequence[str], without: Sequence[str]) -> dict[str, Member]:
    split_patterns = [pattern.lower().split("/") for pattern in patterns]
    found: dict[str, Member] = {}
    for member in members:
        parts = PurePosixPath(member.name).with_suffix("").parts
        if any(part.lower() in without for part in parts):
            continue
        name = next(filter(None, (_captured(parts, pattern) for pattern in split_patterns)), None)
        if name in found:
            raise DatasetError(f"'{found[name]}' and '{member}' are both '{name}': give each picture once.")
        if name is not None:
            found[name] = member
    return found


def _captured(parts: Sequence[str], pattern: Sequence[str]) -> str | None:
    tail = parts[-len(pattern) :]
    if len(tail) < len(pattern) or not all(map(fnmatchcase, (part.lower() for part in tail), pattern)):
        return None
    scene = [part for part, glob in zip(tail[:-1], pattern[:-1], strict=True) if glob == "*"]
    return "/".join([*scene, tail[-1]])


def _flat(name: str) -> str:
    return name.replace("/", "_")


def _with_targets(outputs: Iterable[Output]) -> list[Output]:
    outputs = list(outputs)
    twice = [target for target, count in Counter(output.target for output in outputs).items() if count > 1]
    if twice:
        raise DatasetError(f"several pictures would become {some(twice)}: give each picture once.")
    return outputs


def _nothing_found(benchmark: Benchmark, members: Sequence[Member], wanted: str) -> str:
    layouts: dict[str, Layout] = {}
    for layout in (layout for part in benchmark.parts for layout in part.all_layouts(benchmark.task)):
        layouts.setdefault(layout.name, layout)
    if wanted and wanted not in layouts:
        return f"{benchmark.name} has no layout '{wanted}'; it has: {'; '.join(layouts)}."
    expected = "; ".join(
        f"{name} ({' + '.join((*layout.lq[:1], *layout.gt[:1]))})"
        for name, layout in layouts.items()
        if not wanted or name == wanted
    )
    seen = Counter(str(PurePosixPath(member.name).parent) for member in members)
    there = some(f"{folder} ({count} pictures)" for folder, count in seen.items()) or "no pictures"
    return f"the sources hold no {benchmark.title} in a known layout. Expected: {expected}. Found: {there}."
