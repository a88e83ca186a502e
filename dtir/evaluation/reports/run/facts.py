"""What a run is: its config, stages, seed, version and size, as one small file for the report page."""

import json
from pathlib import Path

from dtir.core.atomic import atomic_write
from dtir.measure.complexity import count_parameters
from dtir.version import __version__

RUN_FILE = "run.json"


def run_facts(runner) -> dict:
    """Plain values of a training in progress.

    Returns:
        `{config, model, tasks, dtir_version, seed, iter, max_iters, samples_per_step, parameters,
        backbone_parameters, stages: [{name, start, end, lr, schedule, generative_share}], config_text}`; a
        stage covers the iterations `start` to `end - 1`.
    """
    loop, model = runner.train_loop, runner.model
    filename = runner.cfg.filename
    return {
        "config": Path(filename).name if filename else runner.experiment_name,
        "model": runner.model_name,
        "tasks": list(model.tasks),
        "dtir_version": __version__,
        "seed": runner.seed,
        "iter": runner.iter,
        "max_iters": loop.max_iters,
        "samples_per_step": loop.world_batch,
        "parameters": count_parameters(model),
        "backbone_parameters": count_parameters(model.backbone),
        "stages": [_stage(stage) for stage in loop.plan],
        "config_text": runner.cfg.pretty_text,
    }


def _stage(stage) -> dict:
    s = stage.settings
    kept = {"lr": s.lr, "schedule": s.schedule, "generative_share": s.generative_share}
    return {"name": stage.name, "start": stage.start, "end": stage.end, **kept}


def write_run_facts(folder: str | Path, facts: dict) -> None:
    """Writes `run.json`, atomically."""
    with atomic_write(Path(folder) / RUN_FILE, "w", encoding="utf-8") as file:
        json.dump(facts, file, indent=1)
