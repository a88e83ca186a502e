"""What makes methods side by side no fair comparison, found in what their runs have left."""

import ast
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from dtir.evaluation.reports.methods.reading import Method, PictureValues, differences
from dtir.evaluation.reports.run.record import RunRecord
from dtir.evaluation.statistics import mean_of_finite

# Of so few pictures Wilcoxon's p cannot be below 0.05, and a bootstrap's interval is too narrow.
FEW_PICTURES = 6
# What trainings of one method may differ in: names of files and machines, and the seed.
_FREE = frozenset({"work_dir", "resume", "load_from", "launcher", "randomness.seed"})
_SHOWN = 3
_CLOSE = {"rel_tol": 1e-6, "abs_tol": 1e-9}


def cautions(methods: Sequence[Method]) -> list[str]:
    """One sentence or two for each reason not to trust a comparison; none where there is nothing to say.

    Told are: different protocols, tasks or pictures; runs that were not tested, or whose
    table is not of the test that measured their pictures; runs of one method that differ in more than their seed, or
    not even in that; and few pictures.
    """
    runs = [run for method in methods for run in method.runs]
    return [
        *_protocols(runs),
        *_tasks(runs),
        *_untested(methods),
        *(text for method in methods for text in _pictures(method, methods[0])),
        *(text for method in methods for text in _stale(method)),
        *(text for method in methods for text in _configs(method)),
        *(text for method in methods for text in _same_seed(method)),
        *_few(methods),
    ]


def _protocols(runs: Sequence[RunRecord]) -> Iterator[str]:
    names = list(dict.fromkeys(run.results.protocol for run in runs))
    if len(names) > 1:
        yield f"The runs were measured by different protocols ({', '.join(names)}); do not compare them."


def _tasks(runs: Sequence[RunRecord]) -> Iterator[str]:
    first = runs[0]
    for run in runs[1:]:
        other = sorted(set(run.tasks) ^ set(first.tasks))
        if other:
            yield (
                f"'{run.folder}' and '{first.folder}' were not measured on the same tasks ({_some(other)}): their "
                "averages do not compare."
            )


def _pictures(method: Method, reference: Method) -> Iterator[str]:
    first = reference.runs[0]
    for run, pictures in zip(method.runs, method.pictures, strict=True):
        if run is first:
            continue
        shared = [task for task in run.tasks if task in first.tasks]
        other = [task for task in shared if not _same_pictures(task, run, pictures, reference)]
        if other:
            yield (
                f"'{run.folder}' and '{first.folder}' were not measured on the same pictures of {_some(other)}: test "
                "both on the same data."
            )


def _same_pictures(task: str, run: RunRecord, pictures: PictureValues | None, reference: Method) -> bool:
    known = reference.pictures[0]
    if pictures is not None and known is not None and task in pictures and task in known:
        return set(pictures[task]) == set(known[task])
    counts = {_count(task, run), _count(task, reference.runs[0])}
    return len(counts - {None}) < 2


def _count(task: str, run: RunRecord) -> int | None:
    return next((row.pictures for row in run.results.rows if row.name == task), None)


def _untested(methods: Sequence[Method]) -> Iterator[str]:
    folders = [str(r.folder) for m in methods for r, known in zip(m.runs, m.pictures, strict=True) if known is None]
    if folders:
        yield (
            f"Without report/pictures.json, which a test writes (dtir test): {_some(folders)}. Their last validation "
            "stands in the tables, and there are no differences of theirs by picture."
        )


def _stale(method: Method) -> Iterator[str]:
    for run, pictures in zip(method.runs, method.pictures, strict=True):
        if pictures is not None and not all(_agree(run, task, pictures) for task in run.tasks):
            yield (
                f"'{run.folder}': the values of the pictures are not those that its table is of, which a later "
                "validation or test has written. Run dtir test again."
            )


def _agree(run: RunRecord, task: str, pictures: PictureValues) -> bool:
    for measure in run.results.measures:
        values = [value[measure.label] for value in pictures.get(task, {}).values() if measure.label in value]
        mean = run.results.value(task, measure.label)
        if values and mean is not None and not math.isclose(mean_of_finite(values), mean, **_CLOSE):
            return False
    return True


def _configs(method: Method) -> Iterator[str]:
    first = method.runs[0]
    for run in method.runs[1:]:
        keys = _different(first.facts.get("config_text", ""), run.facts.get("config_text", ""))
        if keys:
            yield (
                f"Seeds of '{method.name}' differ in more than their seed: {_some(keys)} ('{first.folder}' and "
                f"'{run.folder}')."
            )


def _different(one: str, other: str) -> list[str]:
    """Keys of two configs, as texts, whose values differ, but for what runs of one method may differ in."""
    if not one or not other:
        return []
    first, second = _settings(one), _settings(other)
    keys = [*first, *(key for key in second if key not in first)]
    return [key for key in keys if first.get(key) != second.get(key) and key not in _FREE]


def _settings(text: str) -> Mapping[str, str]:
    """By dotted key, the values of a config as mmengine writes it; of one that cannot be read, the whole as one."""
    try:
        statements = ast.parse(text).body
    except SyntaxError:
        return {"the config": text}
    assigned = (s for s in statements if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name))
    return dict(leaf for statement in assigned for leaf in _leaves(statement.targets[0].id, statement.value))


def _leaves(key: str, node: ast.expr) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Call) and node.keywords and not node.args:
        parts: Iterable[tuple[str, ast.expr]] = ((f"{key}.{word.arg}", word.value) for word in node.keywords)
    elif isinstance(node, ast.List | ast.Tuple) and node.elts:
        parts = ((f"{key}[{place}]", item) for place, item in enumerate(node.elts))
    else:
        yield key, ast.unparse(node)
        return
    for name, value in parts:
        yield from _leaves(name, value)


def _same_seed(method: Method) -> Iterator[str]:
    seeds = [run.facts["seed"] for run in method.runs if "seed" in run.facts]
    twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
    if twice:
        yield (
            f"Runs of '{method.name}' have the same seed ({_some(map(str, twice))}): their spread is not that of seeds."
        )


def _few(methods: Sequence[Method]) -> Iterator[str]:
    least = min((difference.pictures for difference in differences(methods)), default=FEW_PICTURES)
    if least < FEW_PICTURES:
        yield (
            f"Differences over {least} pictures: with fewer than {FEW_PICTURES} the interval is too narrow, and p "
            "cannot be below 0.05."
        )


def _some(names: Iterable[str]) -> str:
    names = list(names)
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
