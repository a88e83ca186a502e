"""What benchmarks.method prints of the trainings that are done."""

import json
from pathlib import Path
from statistics import fmean, stdev

from benchmarks.lab import markdown
from benchmarks.method_runs import REFERENCE, all_runs
from dtir.evaluation.statistics import difference_interval, half_width
from dtir.tasks import TASKS

# What a blind training is measured by: of no task, and as long.
PLAIN_LONG = "plain, equal total steps"
BLIND, APART = ", step estimated", ", task estimated apart"
NOISE, LEAST_SEEDS = "noisy", 3


def read_results(out: Path, seeds: int) -> dict[str, dict[int, dict]]:
    """Results of the finished runs, by name and seed."""
    found: dict[str, dict[int, dict]] = {}
    for run in all_runs(seeds):
        for suffix, file in (("", "results.json"), (BLIND, "results_blind.json"), (APART, "results_apart.json")):
            name, path = run.name + suffix, out / run.folder / file
            if path.is_file():
                found.setdefault(name, {})[run.seed] = json.loads(path.read_text(encoding="utf-8"))
    return found


def average(result: dict, metric: str) -> float:
    """The mean over the ten tasks of the means over their pictures."""
    return fmean(fmean(result[task][metric]) for task in TASKS)


def set_means(results: dict[int, dict], label: str) -> list[float]:
    """Mean PSNR of a test set for every seed."""
    return [fmean(result[label]["PSNR"]) for result in results.values()]


def cell(values: list[float], digits: int = 2) -> str:
    """Mean over the seeds, and their standard deviation where there are several."""
    spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{fmean(values):.{digits}f}{spread}" if values else "-"


def over_seeds(results: dict[int, dict], seeds: list[int]) -> dict[str, list[float]]:
    """PSNR of every picture of the ten tasks, the mean over seeds."""
    return {
        task: [fmean(values) for values in zip(*(results[seed][task]["PSNR"] for seed in seeds), strict=True)]
        for task in TASKS
    }


def compared(results: dict[int, dict], reference: dict[int, dict]) -> str:
    """How much the average PSNR is above a reference's at the seeds that both have, with a 95 % interval."""
    seeds = sorted(results.keys() & reference.keys())
    if not seeds or results is reference:
        return "-"
    low, high = difference_interval(over_seeds(results, seeds), over_seeds(reference, seeds))
    difference = fmean(average(results[s], "PSNR") - average(reference[s], "PSNR") for s in seeds)
    return f"{difference:+.2f} [{low:+.2f}, {high:+.2f}]"


def worst(results: dict[int, dict]) -> str:
    """The smallest gain over the input of any picture of the ten tasks at any seed, where inputs were measured."""
    gains = [
        restored - before
        for result in results.values()
        for task in TASKS
        for restored, before in zip(result[task]["PSNR"], result[task].get("input", []), strict=False)
    ]
    return f"{min(gains):+.1f}" if gains else "-"


def ten_task_table(results: dict[str, dict[int, dict]]) -> str:
    """Averages over the ten tasks, beside the training that is told the task for as many steps in all."""
    reference = results.get(REFERENCE, results.get("full", {}))
    rows = []
    for name, by_seed in results.items():
        psnrs, ssims = ([average(result, key) for result in by_seed.values()] for key in ("PSNR", "SSIM"))
        row = [name, len(by_seed), cell(psnrs), cell(ssims, 3), compared(by_seed, reference), worst(by_seed)]
        rows.append(row)
    against = f"against {REFERENCE if REFERENCE in results else 'full'}"
    return markdown(["training", "seeds", "PSNR", "SSIM", against, "worst gain of a picture"], rows)


def seed_table(results: dict[str, dict[int, dict]], against: str = REFERENCE) -> str:
    """Differences from a training by seed, and their mean with an interval over seeds (95 %, Student's t).

    They are also given of noise, which a generative pre-training removes by itself, and of the nine other tasks. Rows
    with fewer than three seeds in common are left out.
    """
    reference, rows = results.get(against, {}), []
    for name, by_seed in results.items():
        seeds = sorted(by_seed.keys() & reference.keys())
        gains = [{t: _mean(by_seed[s], t) - _mean(reference[s], t) for t in TASKS} for s in seeds]
        if len(seeds) < LEAST_SEEDS or by_seed is reference:
            continue
        whole = [fmean(gain.values()) for gain in gains]
        listed = ", ".join(f"{value:+.2f}" for value in whole)
        others = [fmean(value for task, value in gain.items() if task != NOISE) for gain in gains]
        parts = (whole, [gain[NOISE] for gain in gains], others)
        rows.append([name, listed, *(f"{fmean(values):+.2f} ± {half_width(values):.2f}" for values in parts)])
    return markdown(["training", "by seed", "ten tasks", NOISE, "nine others"], rows)


def _mean(result: dict, task: str) -> float:
    return fmean(result[task]["PSNR"])


def task_table(results: dict[str, dict[int, dict]]) -> str:
    """Mean PSNR of every set, a training a row."""
    labels = [*TASKS, "Rain100L", "REVIDE"]
    rows = [[name, *(cell(set_means(by_seed, label)) for label in labels)] for name, by_seed in results.items()]
    return markdown(["training", *labels], rows)


def print_tables(out: Path, seeds: int) -> None:
    """The comparison in Markdown: the rows that are told alike, blind ones, and the ablations beside the method."""
    results = read_results(out, seeds)
    ablations = {name: found for name, found in results.items() if name.startswith("w/o ")}
    rows = {name: found for name, found in results.items() if name not in ablations}
    tables = [ten_task_table(rows)]
    if REFERENCE in rows:
        tables.append(seed_table(rows))
    if PLAIN_LONG in rows:
        blind = {name: found for name, found in results.items() if _is_blind(name)}
        tables.append(seed_table({PLAIN_LONG: rows[PLAIN_LONG], **blind}, PLAIN_LONG))
    told = {name: found for name, found in ablations.items() if not _is_blind(name)}
    if told:
        beside = {"full": rows.get("full", {}), **told}
        tables += [ten_task_table(beside), seed_table(beside, "full")]
    # Of fewer seeds there is nothing to say by seed.
    with_rows = [table for table in tables if len(table.splitlines()) > 2]
    print(*with_rows, task_table({**rows, **told}), sep="\n\n")


def _is_blind(name: str) -> bool:
    return name.endswith((BLIND, APART))
