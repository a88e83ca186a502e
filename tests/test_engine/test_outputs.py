"""What a training leaves for people: logs, curves, report, progress."""

import io
import json
import re
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import cv2
import pytest
import torch
from rich.console import Console
from tiny_run import BARE, tiny_config, train

from dtir.core.errors import DatasetError
from dtir.datasets import MultiTaskDataset
from dtir.diffusion import MatchingCurve
from dtir.engine import StagedRunner
from dtir.engine.hooks import ForeachEMA, logger, progress
from dtir.engine.hooks.matching import TimestepMatchingHook
from dtir.testing import TinyBackbone


@pytest.fixture(scope="module")
def screen():
    return io.StringIO()


@pytest.fixture(scope="module")
def trained(tmp_path_factory, screen):
    work_dir = tmp_path_factory.mktemp("outputs")
    with redirect_stdout(screen):
        return work_dir, train(work_dir)


def test_little_is_shown_before_the_training_starts(trained, screen):
    (log,) = trained[0].glob("*/*.log")
    before = screen.getvalue().partition("Stage 1/")[0].splitlines()
    assert 0 < len(before) <= 40
    assert f"in the log file: {log}" in "".join(before)
    assert "Hooks will be executed in the following order" in log.read_text()
    assert "optim_wrapper" in log.read_text()


def test_scalars_are_written_as_json_lines(trained):
    (path,) = trained[0].glob("*/vis_data/scalars.json")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    training = [line for line in lines if "loss_restoration" in line]
    assert [line["step"] for line in training] == [2, 4, 6, 8, 10, 12, 14]
    assert {"loss_generative", "grad_norm", "lr", "time", "data_time", "stage"} <= training[0].keys()
    validations = [line for line in lines if "average/PSNR" in line]
    assert [line["step"] for line in validations] == [5, 10, 14]
    assert list(trained[0].glob("*/vis_data/events.out.tfevents*"))


def test_the_log_names_stages_and_times_left(trained):
    (path,) = trained[0].glob("*/*.log")
    text = path.read_text()
    assert "Stage 2/5 'finetune': iterations 4..8, tasks: noisy, low-light; generative share 0.25" in text
    assert "incremental_3 [2/2] [14/14]" in text
    assert "eta stage 0:00:00, all 0:00:00" in text


def test_report_and_curves(trained):
    work_dir, runner = trained
    results = json.loads((work_dir / "report" / "results.json").read_text())
    assert list(results["tasks"]) == ["noisy", "low-light", "jpeg-compressed"]
    assert [results["tasks"][task]["matched_t"] for task in runner.model.tasks] == runner.model.matched_t.tolist()
    panel = cv2.imread(str(work_dir / "report" / "panel.png"))
    assert panel.shape == (3 * (26 + 320 + 6), 3 * 326, 3)
    assert cv2.imread(str(work_dir / "report" / "learning_curves.png")) is not None
    curves = json.loads((work_dir / "matching" / "curves.json").read_text())
    assert [curve["t_star"] for curve in curves] == runner.model.matched_t.tolist()
    assert all(len(curve["mean"]) == 51 and curve["num_images"] == 2 for curve in curves)
    assert cv2.imread(str(work_dir / "matching" / "curves.png")) is not None


def test_a_test_needs_no_training_log(tmp_path):
    runner = StagedRunner.from_cfg(tiny_config(tmp_path))
    runner.test()
    assert len(json.loads((tmp_path / "report" / "results.json").read_text())["tasks"]) == 3
    assert not (tmp_path / "report" / "learning_curves.png").exists()


def test_progress_bars_on_a_terminal(tmp_path, monkeypatch):
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=120)
    monkeypatch.setattr(progress, "Console", lambda file: terminal)
    runner = train(tmp_path)
    shown = screen.getvalue()
    assert "stage 5/5 incremental_3" in shown
    assert "14/14" in shown
    assert "Stage 2/5 'finetune'" in shown
    assert all(f"matching {task}" in shown for task in runner.model.tasks)
    assert all(getattr(hook, "progress", None) is None for hook in runner.hooks)


def test_what_is_estimated_before_a_stage_is_logged_with_the_time_left(tmp_path, monkeypatch):
    monkeypatch.setattr(logger, "ESTIMATE_LINE_SECONDS", 0.0)
    options = {
        **BARE,
        "custom_hooks": [{"type": "TimestepMatchingHook", "num_images": 2, "batch_size": 1}],
        "train_cfg.stages": [{"name": "finetune", "iters": 1, "lr": 0.1}],
        "train_cfg.regularizers": [{"type": "ParameterImportance", "num_samples": 6, "chunk": 2}],
    }
    train(tmp_path, **options)
    text = next(tmp_path.glob("*/*.log")).read_text()
    # 51 steps, of two pictures each by itself; three chunks of two samples.
    lines = [line for line in text.splitlines() if "matching jpeg-compressed [" in line]
    assert len(lines) == 101
    assert re.search(r"matching jpeg-compressed \[102/102\]  eta 0:00:00$", lines[-1])
    assert [part for part in ("[1/3]", "[2/3]", "[3/3]") if f"importance {part}  eta" in text] == ["[2/3]", "[3/3]"]


@pytest.mark.parametrize("order", [1, -1])
def test_what_hooks_log_from_the_cpu_goes_to_the_device_of_the_losses(order):
    # The device of no machine, which has shapes without values, stands for the GPU.
    scalars = [torch.tensor(1), torch.tensor(2.0, device="meta")][::order]
    together = logger.stacked(scalars)
    assert (together.device.type, together.dtype, together.shape) == ("meta", torch.float32, (2,))


def test_scalars_are_read_back_in_their_order():
    assert logger.stacked([torch.tensor(1), torch.tensor(2.5, dtype=torch.float64)]).tolist() == [1.0, 2.5]


def test_matching_skips_crops_that_the_damage_missed():
    class Pairs:
        task = "shadowed"

        def __init__(self, every: int) -> None:
            self.every = every

        def __len__(self) -> int:
            return 100

        def training_item(self, index, rng, generative):
            gt = torch.full((3, 4, 4), index, dtype=torch.uint8)
            lq = gt + 1 if index % self.every == self.every - 1 else gt
            return {"inputs": lq, "data_samples": {"gt": gt}}

    hook = TimestepMatchingHook(num_images=3)
    lq, gt = hook._pairs(MultiTaskDataset([Pairs(every=5)]), 0, 0)
    assert (gt[:, 0, 0, 0] * 255).round().tolist() == [4, 9, 14]
    torch.testing.assert_close(lq - gt, torch.full_like(gt, 1 / 255))
    with pytest.raises(DatasetError, match="task 'shadowed': LQ equals GT in all of 30 crops"):
        hook._pairs(MultiTaskDataset([Pairs(every=1000)]), 0, 0)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"noisy": 2, "hazy": 0, "rainy": 0}),
        ({"first": 1}, {"noisy": 2, "hazy": 1, "rainy": 1}),
        ({"first": 1, "distinct": True}, {"noisy": 3, "hazy": 1, "rainy": 2}),
    ],
)
def test_matched_steps_start_where_they_are_told_to(tmp_path, monkeypatch, options, expected):
    scores = {"noisy": [0.0, 1.0, 5.0, 4.9], "hazy": [9.0, 8.0, 1.0, 0.0], "rainy": [9.0, 8.5, 8.4, 0.0]}
    curves = [MatchingCurve(task, [0, 1, 2, 3], [row], "subtract", "psnr") for task, row in scores.items()]
    steps, messages, modes = {}, [], ["train"]
    model = SimpleNamespace(tasks=tuple(scores), eval=lambda: modes.append("eval"), set_matched_t=steps.update)
    logger = SimpleNamespace(info=messages.append)
    hook = TimestepMatchingHook(**options)
    seen = []
    monkeypatch.setattr(hook, "_match", lambda runner, stage, task: seen.append(modes[-1]) or curves[task])
    runner = SimpleNamespace(model=model, work_dir=tmp_path, logger=logger, whole_model=lambda: nullcontext(model))
    hook.before_stage(runner, SimpleNamespace(name="finetune", index=1), fresh=True)
    assert steps == expected
    assert seen == ["eval"] * 3
    assert any("steps in use" in message for message in messages) == bool(options)


def test_ema_is_its_recurrence():
    torch.manual_seed(0)
    model = TinyBackbone()
    ema = ForeachEMA(model, decay=0.4)
    expected = None
    for n in range(5):
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p))
        ema.update_parameters(model)
        weight = model.head.weight.detach().clone()
        decay = min(0.4, (1 + n) / (10 + n))
        expected = weight if n == 0 else decay * expected + (1 - decay) * weight
    torch.testing.assert_close(ema.module.head.weight, expected)
    twin = ForeachEMA(model, decay=0.4)
    twin.load_state_dict(ema.state_dict())
    assert twin.num_updates == 5


def test_a_finished_training_says_so(trained):
    runner = StagedRunner.from_cfg(tiny_config(trained[0], resume=True))
    runner.train()
    log = Path(runner.log_dir) / f"{runner.timestamp}.log"
    assert "This training is complete; its results are in" in log.read_text()
