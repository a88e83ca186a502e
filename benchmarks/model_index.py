"""Writes the index of all models with results, model-index.yml, and its tables in docs/zoo.md, from benchmarks/results.

    python -m benchmarks.model_index

Nothing is trained or measured: figures are those of the results, parameters are counted on the networks that the
configs build.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean

import yaml
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import nn

from benchmarks import diffusion, method_runs, method_tables
from benchmarks.lab import REPO, markdown
from dtir.apis.models.files import read_facts
from dtir.cli import exit_code
from dtir.core.atomic import atomic_write
from dtir.registry import RESTORERS, SCOPE

INDEX, PAGE = REPO / "model-index.yml", REPO / "docs" / "zoo.md"
BEGIN, END = "<!-- written by: python -m benchmarks.model_index -->", "<!-- end of what is written -->"
RESULTS = "benchmarks/results"
UNIVERSAL = "dtir/assets/models/universal.safetensors"
COLLECTION = {
    "Name": "dtir",
    "Paper": {
        "Title": "Elucidating and Endowing the Diffusion Training Paradigm for General Image Restoration",
        "URL": "https://arxiv.org/abs/2506.21722",
    },
    "README": "docs/method.md",
}
# Folder of results: page of the comparison, settings that were laid over the configs, and seeds that it may have.
COMPARISONS = {"method_short": "configs/_base_/lab/method_short.py", "method": "configs/_base_/lab/method.py"}
MOST_SEEDS = 10


def build_index() -> dict:
    """The whole index, as it is written."""
    models = [universal(), *method_models(), *diffusion_models()]
    return {"Collections": [COLLECTION], "Models": [{**model, "In Collection": "dtir"} for model in models]}


def universal() -> dict:
    """The model of the package, with its results by name of the task."""
    facts = read_facts(REPO / UNIVERSAL)
    folder = f"{RESULTS}/weights"
    scores = json.loads((REPO / folder / "scores.json").read_text(encoding="utf-8"))["scores"]
    return {
        "Name": "universal",
        "Config": "configs/models/universal_nafnet_shadows_again.py",
        "Weights": UNIVERSAL,
        "Metadata": {
            "Parameters": facts.parameters,
            "Training Log": f"{folder}/universal_nafnet_log.json",
            "Model Card": "dtir/assets/models/universal.md",
            "Scoreboard": "docs/benchmarks/weights.md",
        },
        "Results": [_scored(name, scores) for name in dict.fromkeys(score["set"] for score in scores)],
    }


def _scored(name: str, scores: list[dict]) -> dict:
    own = [score for score in scores if score["set"] == name]
    columns = {"PSNR": ("psnr_given", 2), "SSIM": ("ssim_given", 4), "PSNR of the input": ("psnr_input", 2)}
    metrics = {metric: round(fmean(s[key] for s in own), digits) for metric, (key, digits) in columns.items()}
    return result(name, metrics)


def result(dataset: str, metrics: dict[str, float]) -> dict:
    """An entry of `Results`."""
    return {"Task": "Image Restoration", "Dataset": dataset, "Metrics": metrics}


def method_models() -> Iterator[dict]:
    """The trainings of both comparisons of the method, means over their seeds."""
    for name, settings in COMPARISONS.items():
        found = method_tables.read_results(REPO / RESULTS / name, MOST_SEEDS)
        runs = {run.name: run for run in method_runs.all_runs(MOST_SEEDS, settings)}
        for title, by_seed in found.items():
            # The rows whose step is estimated are the same networks, used another way.
            if title not in runs:
                continue
            run = runs[title]
            metrics = {
                metric: round(fmean(method_tables.average(r, metric) for r in by_seed.values()), digits)
                for metric, digits in (("PSNR", 2), ("SSIM", 4))
            }
            yield {
                "Name": f"{name}: {title}",
                "Config": f"configs/{run.config}.py",
                "Weights": None,
                "Metadata": {
                    "Parameters": parameters(method_runs.lab_config(run, Path("unused"))),
                    "Settings": settings,
                    "Seeds": sorted(by_seed),
                    "Scoreboard": "docs/benchmarks/method.md",
                },
                "Results": [result("real10, mean of ten tasks", metrics)],
            }


def diffusion_models() -> Iterator[dict]:
    """The processes of the family, each at its best number of steps."""
    for name, rows in diffusion.read_results(REPO / RESULTS / "diffusion").rows.items():
        best = max(rows, key=lambda row: row["PSNR"])
        config, options = diffusion.PROCESSES[name]
        yield {
            "Name": f"diffusion: {name}",
            "Config": f"configs/{config}.py",
            "Weights": None,
            "Metadata": {
                "Parameters": parameters(diffusion.lab_config(name, 1, seed=0)),
                "Options": options,
                "Sampling Steps": best["steps"],
                "Scoreboard": "docs/benchmarks/diffusion.md",
            },
            "Results": [result("Rain100H", {"PSNR": round(best["PSNR"], 2), "SSIM": round(best["SSIM"], 4)})],
        }


def parameters(config: Config) -> int:
    """The number of parameters of the network that a config trains."""
    with DefaultScope.overwrite_default_scope(SCOPE):
        model = RESTORERS.build(config.model)
    estimator = getattr(model, "estimator", None)
    return _numel(model) - (0 if estimator is None else _numel(estimator))


def _numel(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def tables(index: dict) -> str:
    """The tables of the page."""
    model, others = index["Models"][0], index["Models"][1:]
    own = [_row(r) for r in model["Results"]]
    rows = [[m["Name"], f"`{m['Config']}`", _millions(m), *_row(m["Results"][0]), _link(m)] for m in others]
    header = ["model", "config", "parameters", "test set", "PSNR", "SSIM", "more"]
    return "\n\n".join(
        [
            "## universal",
            f"`{model['Weights']}`, {_millions(model)} parameters, trained by `{model['Config']}`.",
            markdown(["test set", *model["Results"][0]["Metrics"]], own),
            "## Trainings of the comparisons",
            markdown(header, rows),
        ]
    )


def _row(entry: dict) -> list[str]:
    metrics = entry["Metrics"].items()
    return [entry["Dataset"], *(f"{value:.{4 if name == 'SSIM' else 2}f}" for name, value in metrics)]


def _millions(model: dict) -> str:
    return f"{model['Metadata']['Parameters'] / 1e6:.2f} M"


def _link(model: dict) -> str:
    page = model["Metadata"]["Scoreboard"].removeprefix("docs/")
    return f"[page]({page})"


def index_text(index: dict) -> str:
    """The file."""
    head = "# Written from benchmarks/results by: python -m benchmarks.model_index\n"
    return head + yaml.safe_dump(index, sort_keys=False, width=120, allow_unicode=True)


def page_text(page: str, index: dict) -> str:
    """The page with the tables of an index."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{tables(index)}\n\n{END}{rest.split(END)[1]}"


def main() -> int:
    """Writes both files."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    index = build_index()
    for path, text in ((INDEX, index_text(index)), (PAGE, page_text(PAGE.read_text(encoding="utf-8"), index))):
        with atomic_write(path, "w", encoding="utf-8") as file:
            file.write(text)
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(exit_code(main))
