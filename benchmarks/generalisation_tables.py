"""The tables of `benchmarks.generalisation`, from its files of results."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import fmean

from benchmarks.generalisation_cells import CLEAN, NAMES, ONE, SOURCES, TEN, TEST_SETS, TESTED, Cell, Source
from benchmarks.lab import markdown
from benchmarks.method_tables import LEAST_SEEDS, cell
from dtir.evaluation.statistics import difference_interval, half_width
from dtir.tasks import TASKS

# How rows are called by how task and step were told.
TOLD_BY = {
    "told": "",
    "step": ", step estimated",
    "blind": ", task estimated",
    "best": ", the best step by the GT",
}
BLIND_STEP = ", task and step estimated"
OTHERS = [name for name in TEST_SETS if name not in TASKS]
# By name of the row, the results of each seed.
Rows = dict[str, dict[int, dict]]


def rows_of(results: Path, source: Source | None, seeds: int) -> Rows:
    """What was measured of one source, or of ten tasks."""
    rows: Rows = {}
    for way in ONE if source else TEN:
        for seed in range(seeds):
            path = results / Cell(way, source, seed).file
            found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
            for mode, values in found.items():
                ending = BLIND_STEP if mode == "blind" and way.own_step else TOLD_BY[mode]
                rows.setdefault(way.name + ending, {})[seed] = values
    return rows


def means(by_seed: dict[int, dict], names: Sequence[str], key: str = "PSNR") -> list[float]:
    """The mean over test sets of the means over their pictures, for every seed."""
    return [fmean(fmean(values[name][key]) for name in names) for values in by_seed.values()]


def difference(first: dict[int, dict], second: dict[int, dict], names: Sequence[str]) -> str:
    """How much the first is above the second in dB, for each seed that both have; mean, 95 % interval over pictures.

    From three seeds on also the 95 % interval over these, by Student's t.
    """
    seeds = sorted(first.keys() & second.keys())
    if not seeds or first is second:
        return "-"
    per_picture = [
        {
            name: [fmean(column) for column in zip(*(rows[seed][name]["PSNR"] for seed in seeds), strict=True)]
            for name in names
        }
        for rows in (first, second)
    ]
    low, high = difference_interval(*per_picture)
    by_seed = [means({0: first[s]}, names)[0] - means({0: second[s]}, names)[0] for s in seeds]
    listed = ", ".join(f"{value:+.2f}" for value in by_seed)
    if len(by_seed) >= LEAST_SEEDS:
        listed += f"; ± {half_width(by_seed):.2f}"
    return f"{fmean(by_seed):+.2f} [{low:+.2f}, {high:+.2f}] ({listed})"


def one_task(results: Path, seeds: int) -> Iterator[str]:
    """Networks of one task: PSNR, differences to plain training, and what happens to clean pictures."""
    rows = {source: rows_of(results, source, seeds) for source in SOURCES}
    names = list(dict.fromkeys(name for found in rows.values() for name in found))
    if not names:
        return
    header = ["trained on", "tested on"]

    def labels(source: Source, name: str) -> list[str]:
        return [source.name, NAMES.get(name, name)]

    def table(of: list[str], value) -> str:
        return markdown([*header, *of], ([*labels(s, n), *value(s, n)] for s, n in TESTED if rows[s]))

    def first(source: Source, name: str) -> dict:
        return next(iter(next(iter(rows[source].values())).values()))[name]

    yield table(
        ["input", *names],
        lambda s, n: [
            f"{fmean(first(s, n)['input']):.2f}",
            *(cell(means(rows[s].get(name, {}), [n])) for name in names),
        ],
    )
    yield table(
        names[1:],
        lambda s, n: [difference(rows[s].get(name, {}), rows[s].get(names[0], {}), [n]) for name in names[1:]],
    )
    yield markdown(
        ["trained on", *names],
        (
            [source.name, *(cell(_changes(found.get(name, {}))) for name in names)]
            for source, found in rows.items()
            if found
        ),
    )


def _changes(by_seed: dict[int, dict]) -> list[float]:
    return [fmean(values[CLEAN]["RMSE"]) for values in by_seed.values() if CLEAN in values]


def ten_tasks(results: Path, seeds: int) -> Iterator[str]:
    """Networks of ten tasks: PSNR, the worst picture, clean ones, and differences."""
    rows = rows_of(results, None, seeds)
    if not rows:
        return
    first = next(iter(next(iter(rows.values())).values()))
    sets = {"real10": list(TASKS), **{name: [name] for name in OTHERS}}
    inputs = (f"{fmean(fmean(first[name]['input']) for name in names):.2f}" for names in sets.values())
    lines = [["input", "", *inputs, "", ""]]
    for name, by_seed in rows.items():
        values = (cell(means(by_seed, names)) for names in sets.values())
        lines.append([name, len(by_seed), *values, cell(_changes(by_seed)), worst(by_seed)])
    yield markdown(["training", "seeds", *sets, "clean, RMSE", "worst gain"], lines)
    asked = [(f"wide told, own step{how}", "wide told") for how in ("", TOLD_BY["step"], TOLD_BY["best"])] + [
        (f"wide told, own step{BLIND_STEP}", f"wide told{TOLD_BY['blind']}"),
        ("wide told", "told"),
        ("wide told, shares by loss", "wide told in two halves"),
        ("wide told, masked pre-training", "wide told"),
        ("wide told, masked and classified pre-training", "wide told"),
        ("wide told, masked and classified pre-training", "wide told, masked pre-training"),
        ("full", "told, equal total steps"),
    ]
    yield markdown(
        ["difference", *sets],
        (
            [f"{a} - {b}", *(difference(rows.get(a, {}), rows.get(b, {}), names) for names in sets.values())]
            for a, b in asked
            if a in rows and b in rows
        ),
    )


def worst(by_seed: dict[int, dict]) -> str:
    """The smallest gain of any picture over its input."""
    gains = [
        after - before
        for values in by_seed.values()
        for name in TEST_SETS
        for after, before in zip(values[name]["PSNR"], values[name]["input"], strict=True)
    ]
    return f"{min(gains):+.1f}"


def earlier(results: Path) -> str:
    """The first comparison of one task, by the results of its trainings, a folder each: PSNR over the seeds."""
    rows = []
    for source, name in TESTED:
        values = []
        for way in ("plain", "full"):
            files = sorted(results.glob(f"{way}_{source.name}_seed*/results.json"))
            found = dict(enumerate(json.loads(file.read_text(encoding="utf-8")) for file in files))
            values.append(means({seed: of for seed, of in found.items() if name in of}, [name]))
        if any(values):
            rows.append([source.name, NAMES.get(name, name), *map(cell, values)])
    return markdown(["trained on", "tested on", "plain", "the method"], rows)


def print_tables(results: Path, seeds: int) -> None:
    """The comparison in Markdown."""
    print(*one_task(results, seeds), *ten_tasks(results, seeds), sep="\n\n")
