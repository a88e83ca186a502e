"""The tables of `benchmarks.few_shot`, from its files of results."""

from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, stdev

import numpy as np

from benchmarks.few_shot_cells import (
    CHOSEN_AT,
    CHOSEN_ON,
    FEWER,
    FREELY,
    KINDS,
    NETWORKS,
    OLD,
    PROJECT,
    RIVAL,
    SCRATCH,
    SEEDS,
    UNPRETRAINED,
    WAYS,
    WHOLE,
    Cell,
    chosen_rate,
    read_results,
)
from benchmarks.lab import markdown
from benchmarks.method_tables import LEAST_SEEDS
from dtir.evaluation.statistics import difference_interval, half_width

Found = dict[str, dict[str, dict[int, dict]]]

# The differences that are asked about: of an adaptation, and of what was trained before it.
CLAIMS = (
    (PROJECT, SCRATCH),
    (PROJECT, RIVAL),
    (PROJECT, UNPRETRAINED),
    (WHOLE, SCRATCH),
    (WHOLE, RIVAL),
    (WHOLE, "told: full"),
    ("pre-trained alone: fine-tuned", SCRATCH),
    (FREELY, RIVAL),
    (RIVAL, SCRATCH),
)


def read_cells(results: Path, pairs: dict[str, int], network: int = 0) -> Found:
    """What was measured, by way, kind and seed, at the way's learning rate.

    Args:
        results: Folder of the files.
        pairs: N by kind.
        network: Seed of the network that learned.
    """
    found: Found = {}
    for way in WAYS:
        chosen = chosen_rate(way, results)
        if chosen is None:
            continue
        rate = f"{chosen:g}"
        for kind in (kind for kind in KINDS if kind.name in pairs):
            for seed in range(SEEDS):
                measured = read_results(results / Cell(kind, pairs[kind.name], seed, network).file).get(way.name, {})
                if rate in measured:
                    found.setdefault(way.name, {}).setdefault(kind.name, {})[seed] = measured[rate]
    return found


def difference(found: Found, first: str, second: str, kinds: Iterable[str]) -> str:
    """How much one way is above another in dB, with a 95 % interval over pictures, at what both have in common."""
    values: tuple[dict, dict] = ({}, {})
    for kind in kinds:
        rows = [found.get(name, {}).get(kind, {}) for name in (first, second)]
        seeds = sorted(rows[0].keys() & rows[1].keys())
        if not seeds:
            return "-"
        for row, part in zip(rows, values, strict=True):
            part[kind] = [fmean(column) for column in zip(*(row[seed]["PSNR"] for seed in seeds), strict=True)]
    low, high = difference_interval(*values)
    mean = fmean(fmean(values[0][kind]) - fmean(values[1][kind]) for kind in values[0])
    return f"{mean:+.2f} [{low:+.2f}, {high:+.2f}]"


def new_table(found: Found, kinds: list[str]) -> str:
    """PSNR of the new kinds, a way a row, and the average beside two rivals."""
    rows = []
    inputs = [next(iter(found[SCRATCH][kind].values()))["input"] for kind in kinds]
    rows.append(["input", "", *(f"{fmean(values):.2f}" for values in inputs), "", "", ""])
    for name, by_kind in ((name, by_kind) for name, by_kind in found.items() if by_kind.keys() & {*kinds}):
        cells = [_seeds([fmean(r["PSNR"]) for r in by_kind.get(kind, {}).values()]) for kind in kinds]
        whole = all(kind in by_kind for kind in kinds)
        mean = (
            f"{fmean(fmean(fmean(r['PSNR']) for r in by_kind[kind].values()) for kind in kinds):.2f}" if whole else ""
        )
        beside = [difference(found, name, other, kinds) if other != name else "-" for other in (SCRATCH, RIVAL)]
        rows.append([name, _counts(by_kind, kinds), *cells, mean, *beside])
    return markdown(["way", "seeds", *kinds, "average", f"against {SCRATCH}", f"against {RIVAL}"], rows)


def _counts(by_kind: dict, kinds: list[str]) -> str:
    counts = sorted({len(by_kind.get(kind, {})) for kind in kinds})
    return "-".join(map(str, [counts[0], counts[-1]] if len(counts) > 1 else counts))


def _seeds(values: list[float]) -> str:
    spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
    return f"{fmean(values):.2f}{spread}" if values else "-"


def claims_table(found: Found, kinds: list[str]) -> str:
    """The differences that are asked about, kind by kind."""
    rows = [[f"{a} - {b}", *(difference(found, a, b, [kind]) for kind in kinds)] for a, b in CLAIMS]
    return markdown(["difference", *kinds], rows)


def choices_table(found: Found, kinds: list[str]) -> str:
    """The same differences for each choice of the pairs, and their mean and spread."""
    rows = []
    for first, second in CLAIMS:
        cells = []
        for kind in kinds:
            by_seed = [found.get(name, {}).get(kind, {}) for name in (first, second)]
            seeds = sorted(by_seed[0].keys() & by_seed[1].keys())
            values = [fmean(by_seed[0][seed]["PSNR"]) - fmean(by_seed[1][seed]["PSNR"]) for seed in seeds]
            spread = f" ± {stdev(values):.2f}" if len(values) > 1 else ""
            cells.append(f"{', '.join(f'{v:+.2f}' for v in values)}: {fmean(values):+.2f}{spread}" if values else "-")
        rows.append([f"{first} - {second}", *cells])
    return markdown(["difference", *kinds], rows)


def networks_table(by_network: list[Found], kinds: list[str]) -> str:
    """The differences of each network, a mean over the choices of the pairs, and their mean and 95 % interval.

    Training from scratch has no network, and is the same for all.
    """
    rows = []
    for first, second in ((PROJECT, SCRATCH), (PROJECT, RIVAL), (RIVAL, SCRATCH)):
        by_kind = [_of_networks(by_network, (first, second), kind) for kind in kinds]
        complete = [number for number in by_kind[0] if all(number in values for values in by_kind)]
        means = [fmean(values[number] for values in by_kind) for number in complete]
        rows.append([f"{first} - {second}", *(_listed([*values.values()]) for values in by_kind), _listed(means)])
    return markdown(["difference", *kinds, "average"], rows)


def _of_networks(by_network: list[Found], ways: tuple[str, str], kind: str) -> dict[int, float]:
    """By number of the network, how much one way is above the other, where both have learned from the same pairs."""
    found = {}
    for number, of_network in enumerate(by_network):
        first, second = (
            (by_network[0] if name == SCRATCH else of_network).get(name, {}).get(kind, {}) for name in ways
        )
        seeds = sorted(first.keys() & second.keys())
        if seeds:
            found[number] = fmean(fmean(first[seed]["PSNR"]) - fmean(second[seed]["PSNR"]) for seed in seeds)
    return found


def _listed(values: list[float]) -> str:
    spread = f" ± {half_width(values):.2f}" if len(values) >= LEAST_SEEDS else ""
    return f"{', '.join(f'{v:+.2f}' for v in values)}: {fmean(values):+.2f}{spread}" if values else "-"


def changes(found: Found, name: str, results: Path) -> dict[str, list[float]]:
    """How each adaptation changes the mean PSNR in dB, by old task."""
    base = next(way.base for way in WAYS if way.name == name)
    moved: dict[str, list[float]] = {task: [] for task in OLD}
    before = read_results(results / f"base_{base}_seed0.json")
    for by_seed in found.get(name, {}).values():
        for measured in by_seed.values():
            for task, values in measured.get("old", {}).items():
                moved[task].append(fmean(values) - fmean(before[task]))
    return moved


def forgetting_table(found: Found, kinds: list[str], results: Path) -> str:
    """What the old tasks lose, beside what the new kinds gain over the input."""
    rows = []
    for way in WAYS:
        moved = changes(found, way.name, results)
        if not any(moved.values()):
            continue
        gains = [
            fmean(fmean(np.subtract(r["PSNR"], r["input"])) for r in found[way.name][kind].values())
            for kind in kinds
            if kind in found[way.name]
        ]
        means = {task: fmean(values) for task, values in moved.items()}
        worst = min(min(values) for values in moved.values())
        row = [way.name, f"{fmean(gains):+.2f}", *(f"{means[task]:+.2f}" for task in OLD)]
        rows.append([*row, f"{fmean(means.values()):+.2f}", f"{worst:+.2f}"])
    return markdown(["way", "new kinds' gain", *OLD, "mean", "worst"], rows)


def rates_table(results: Path) -> str:
    """The learning rates that were tried, with the PSNR of held-out and of test pictures, and the chosen one."""
    cells = [Cell(kind, CHOSEN_AT, 0) for kind in KINDS if kind.name in CHOSEN_ON]
    found = [read_results(results / cell.file) for cell in cells]
    rows = []
    for way in (way for way in WAYS if way.rate_of is None and chosen_rate(way, results)):
        tried = [f"{rate:g}" for rate in way.rates if all(f"{rate:g}" in values.get(way.name, {}) for values in found)]
        columns = [
            ", ".join(f"{fmean(number(values[way.name][rate]) for values in found):.2f}" for rate in tried)
            for number in (lambda measured: measured["held_out"], lambda measured: fmean(measured["PSNR"]))
        ]
        rows.append([way.name, ", ".join(tried), *columns, f"{chosen_rate(way, results):g}"])
    return markdown(["way", "learning rates tried", "held-out pairs", "test pictures", "chosen"], rows)


def print_tables(results: Path) -> None:
    """The comparison in Markdown."""
    names = [kind.name for kind in KINDS]
    tables = []
    for number in (CHOSEN_AT, 10, 100):
        fewer = FEWER if number == CHOSEN_AT else {}
        found = read_cells(results, {name: fewer.get(name, number) for name in names})
        # Kinds with fewer pairs are in the main comparison with what they have.
        kinds = [n for n in names if n in found.get(SCRATCH, {}) and (number == CHOSEN_AT or n not in FEWER)]
        if kinds:
            tables += [f"{number} pairs", new_table(found, kinds)]
        if kinds and number == CHOSEN_AT:
            several = [read_cells(results, {n: FEWER.get(n, number) for n in names}, k) for k in range(NETWORKS)]
            tables += [claims_table(found, kinds), choices_table(found, kinds), networks_table(several, kinds)]
            tables.append(forgetting_table(found, kinds, results))
    print(*tables, rates_table(results), sep="\n\n")
