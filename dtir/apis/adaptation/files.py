"""What an adaptation leaves: the new model file or checkpoint, and a page about how it went."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch

from dtir.apis.adaptation.teaching import Adaptation
from dtir.apis.models.build import load_restorer
from dtir.apis.models.files import SUFFIX, write_model_file
from dtir.apis.models.names import find_model
from dtir.core.atomic import atomic_save, atomic_write, require_writable
from dtir.core.checkpoint import to_cpu
from dtir.core.errors import ConfigError
from dtir.engine.hooks.blind_task import KEY as ESTIMATOR
from dtir.engine.hooks.blind_task import facts_of
from dtir.evaluation.render.grid import Grid
from dtir.evaluation.render.html import Html, html_table, join, page, tag
from dtir.evaluation.render.svg import Series, line_chart
from dtir.evaluation.reports.pictures import INDEX, ReportPicture, save_pictures
from dtir.evaluation.reports.run.record import RunRecord
from dtir.evaluation.reports.run.result_sections import pictures
from dtir.models import Restorer
from dtir.version import __version__

# Logit of a task that the estimator was not trained on: never the likeliest.
_NEVER = -1e4


def check_output(model: str | Path, path: str | Path) -> None:
    """Refuses before any training what `save_adapted` would refuse after it.

    Raises:
        ConfigError: The file cannot be written, or cannot hold the model's estimator.
        CheckpointError: The model cannot be read.
    """
    require_writable(path, "--out")
    if Path(path).suffix != SUFFIX:
        _check_estimator(load_restorer(find_model(model)))


def save_adapted(result: Adaptation, path: str | Path) -> None:
    """Writes the network: a model file where the path ends in .safetensors, else a checkpoint.

    The estimator of the old tasks is kept, and never chooses the new one: `--task auto` stays what it was.

    Raises:
        ConfigError: The estimator cannot be kept in a checkpoint.
    """
    path = Path(path)
    restorer = result.restorer
    if path.suffix == SUFFIX:
        # Whole floats: what is rounded would not be bit for bit what it was.
        write_model_file(path, restorer, half=False)
        return
    meta = {
        "dtir_version": __version__,
        "tasks": list(restorer.tasks),
        "model_cfg": restorer.model_cfg,
        "custom_imports": list(getattr(restorer, "custom_imports", ())),
        "adapted": {"task": result.name, "step": result.step, "start": result.start, "pairs": len(result.trained)},
    }
    _check_estimator(restorer)
    state = {key: value for key, value in restorer.state_dict().items() if not key.startswith("estimator.")}
    checkpoint = {"meta": meta, "state_dict": to_cpu(state)}
    if restorer.estimator is not None:
        checkpoint[ESTIMATOR] = _estimator(restorer.estimator, restorer.tasks)
    atomic_save(checkpoint, path)


def _check_estimator(restorer: Restorer) -> None:
    estimator = restorer.estimator
    if estimator is not None and estimator.classes and estimator.classes != restorer.tasks[: len(estimator.classes)]:
        raise ConfigError(
            "this model's estimator tells apart other classes than its tasks, which a checkpoint cannot hold: write a "
            f"model file, --out NAME{SUFFIX}."
        )


def _estimator(estimator: torch.nn.Module, tasks: Sequence[str]) -> dict:
    state, facts = to_cpu(estimator.state_dict()), facts_of(estimator)
    missing = len(tasks) - len(state["head.bias"])
    weight, bias = state["head.weight"], state["head.bias"]
    state["head.weight"] = torch.cat([weight, weight.new_zeros(missing, weight.shape[1])])
    state["head.bias"] = torch.cat([bias, bias.new_full((missing,), _NEVER)])
    return {"state_dict": state, **facts, **({"classes": list(tasks)} if "classes" in facts else {})}


def write_adaptation_report(result: Adaptation, folder: str | Path) -> Path:
    """Writes `report.html`, one page that needs nothing else, and the pictures on it; returns the page's path."""
    folder = Path(folder)
    kept = folder / "report" / "pictures"
    save_pictures(kept, _pictures(result))
    record = RunRecord(result.name, folder, pictures=json.loads((kept / INDEX).read_text(encoding="utf-8")))
    sections = [
        ("summary", "Held-out pairs", _held_out(result)),
        ("curve", "Learning", _curve(result)),
        ("pictures", "Before and after", pictures(record)),
        ("old", "Old tasks", _old_tasks(result)),
    ]
    lead = (
        f"Task '{result.name}' at time step {result.step}, learned from {len(result.trained)} pairs, starting from "
        f"time step {result.start}; page written by dtir {__version__}"
    )
    path = folder / "report.html"
    with atomic_write(path, "w", encoding="utf-8") as file:
        file.write(page(f"dtir adapt: {result.name}", tag("p", lead, class_="lead"), sections))
    return path


def _pictures(result: Adaptation) -> list[ReportPicture]:
    return [
        ReportPicture(result.name, name, before, after, *shown)
        for name, before, after, shown in zip(
            result.held_out, result.inputs, result.after, result.pictures, strict=True
        )
    ]


def _held_out(result: Adaptation) -> Html:
    columns = (result.inputs, result.before, result.after)
    rows = [[name, *map(_number, values)] for name, *values in zip(result.held_out, *columns, strict=True)]
    rows.append(["mean", *(_number(sum(values) / len(values)) for values in columns)])
    header = ["pair", "input", f"before, at time step {result.start}", "after"]
    return html_table(Grid(header, rows, "PSNR of the held-out pairs in dB, RGB, 8 bits", last_apart=True))


def _number(value: float) -> str:
    return f"{value:.2f}"


def _curve(result: Adaptation) -> Html:
    steps, psnr, _ = zip(*result.history, strict=True)
    chart = line_chart("PSNR of the held-out pairs in dB", [Series(result.name, list(steps), list(psnr))])
    return tag("div", chart, class_="charts")


def _old_tasks(result: Adaptation) -> Html:
    rows = [
        [name, f"{value:.3f}", *([f"{result.lost[name]:.3f}"] if result.lost else [])]
        for name, value in result.drift.items()
    ]
    note = (
        "How far what the network makes of the first held-out inputs moved at the old tasks' steps. 0.000 is bit for "
        "bit the same."
    )
    if result.lost:
        note += " The loss is that of PSNR on the pairs that stand for the old tasks: replayed ones, or made ones."
    caption = "Root mean square difference, in levels of 255" + (", and loss in dB" if result.lost else "")
    header = ["task", "difference", *(["loss"] if result.lost else [])]
    return join(tag("p", note, class_="note"), html_table(Grid(header, rows, caption)))
