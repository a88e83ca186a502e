"""Arguments of training and testing, and what becomes of them."""

import argparse
import json
import signal
import subprocess
import sys
import time

import pytest
import torch
from mmengine.config import Config

from dtir.cli import launching
from dtir.cli import test as test_command
from dtir.cli import train as train_command
from dtir.core.errors import ConfigError

TRAINING = {"train_dataloader": {}, "train_cfg": {}, "optim_wrapper": {}}
COMMANDS = {"train": train_command, "test": test_command}
TESTING = {"test_dataloader": {}, "test_cfg": {}, "test_evaluator": {}}


@pytest.fixture
def runner(monkeypatch):
    """Records the config that the runner is built from."""

    class Recorder:
        hooks = ()

        def train(self):
            self.trained = True

        def test(self):
            return {"noisy/PSNR": 30}

    recorder = Recorder()

    def build(cfg):
        recorder.cfg = cfg
        return recorder

    for command in COMMANDS.values():
        monkeypatch.setattr(command, "build_runner", build)
        monkeypatch.setattr(command, "check_checkpoint_file", lambda path: None)
    return recorder


def parse(kind: str, *words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    COMMANDS[kind].add_arguments(parser)
    return parser.parse_args(words)


def train(runner, monkeypatch, *words: str) -> Config:
    monkeypatch.setattr(launching, "load_config", lambda *args: Config(dict(TRAINING)))
    assert train_command.run(parse("train", "c.py", *words)) == 0
    assert runner.trained
    return runner.cfg


def test_plain_training(runner, monkeypatch):
    cfg = train(runner, monkeypatch)

    assert (cfg.launcher, cfg.get("resume"), cfg.optim_wrapper) == ("none", None, {})


def test_resume_newest_and_named(runner, monkeypatch):
    assert train(runner, monkeypatch, "--resume").to_dict().items() >= {"resume": True, "load_from": None}.items()
    assert (
        train(runner, monkeypatch, "--resume", "auto").to_dict().items() >= {"resume": True, "load_from": None}.items()
    )
    assert train(runner, monkeypatch, "--resume", "a.pth").load_from == "a.pth"


@pytest.mark.parametrize(("words", "amp"), [(["--amp"], "bf16"), (["--amp", "fp16"], "fp16")])
def test_amp(runner, monkeypatch, words, amp):
    assert train(runner, monkeypatch, *words).optim_wrapper.amp == amp


def test_incomplete_config(monkeypatch):
    monkeypatch.setattr(launching, "load_config", lambda *args: Config({"train_cfg": {}}))

    with pytest.raises(ConfigError, match=r"c\.py: train_dataloader, optim_wrapper missing"):
        train_command.run(parse("train", "c.py"))


def test_testing_writes_the_metrics(runner, monkeypatch, tmp_path):
    monkeypatch.setattr(launching, "load_config", lambda *args: Config(dict(TESTING)))

    test_command.run(parse("test", "c.py", "w.pth", "--out", str(tmp_path / "m.json")))

    assert runner.cfg.load_from == "w.pth"
    assert json.loads((tmp_path / "m.json").read_text()) == {"noisy/PSNR": 30.0}


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        ([], ["TestReportHook", "CostHook"]),
        (["--tta", "--save-images"], ["SelfEnsembleHook", "SaveImagesHook", "TestReportHook", "CostHook"]),
        (["--task", "auto"], ["AutoTaskHook", "TestReportHook", "CostHook"]),
    ],
)
def test_options_of_testing_are_hooks(runner, monkeypatch, words, kinds):
    monkeypatch.setattr(launching, "load_config", lambda *args: Config({**TESTING, "custom_hooks": [{"type": "Mine"}]}))

    test_command.run(parse("test", "c.py", "w.pth", *words))

    assert [hook["type"] for hook in runner.cfg.custom_hooks] == ["Mine", *kinds]
    assert "resume" not in runner.cfg.test_cfg


def test_a_configs_own_hook_of_tests_is_kept(runner, monkeypatch):
    own = [{"type": "dtir.TestReportHook", "examples": 7}]
    monkeypatch.setattr(launching, "load_config", lambda *args: Config({**TESTING, "custom_hooks": own}))

    test_command.run(parse("test", "c.py", "w.pth"))

    assert runner.cfg.custom_hooks == [*own, {"type": "CostHook"}]


@pytest.mark.parametrize("kind", ["", "type='RecordedTestLoop'", "type='TestLoop'"])
def test_resuming_a_test(runner, tmp_path, kind):
    config = tmp_path / "c.py"
    data = "dict(dataset=dict(type='MultiTaskDataset', datasets=[]))"
    config.write_text(f"test_cfg = dict({kind})\ntest_dataloader = {data}\ntest_evaluator = [dict(type='PSNR')]\n")
    words = parse("test", str(config), "w.pth", "--resume", "--work-dir", str(tmp_path))

    if "'TestLoop'" in kind:
        with pytest.raises(ConfigError, match=r"unknown key 'test_cfg.resume'.* of TestLoop"):
            test_command.run(words)
    else:
        test_command.run(words)
        assert runner.cfg.test_cfg.resume is True


def test_help_needs_no_heavy_module():
    code = "import sys, dtir.cli; sys.exit(any(name in sys.modules for name in ('torch', 'mmengine', 'cv2')))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_process_ends_with_its_killed_parent():
    child = (
        "import time; from dtir.cli.launching import end_with_parent; "
        "end_with_parent(); print(flush=True); time.sleep(60)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE)
    process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()

    start = time.monotonic()
    # The pipe closes when the last process that holds it is gone.
    assert process.stdout.read() == b""
    assert time.monotonic() - start < 30


@pytest.mark.parametrize(
    ("launcher", "variables", "refused"),
    [
        ("pytorch", {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}, True),
        ("pytorch", {"LOCAL_RANK": "1"}, True),
        ("slurm", {"SLURM_LOCALID": "1"}, True),
        ("slurm", {"SLURM_LOCALID": "0"}, False),
        ("pytorch", {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}, False),
    ],
)
def test_processes_without_a_device_of_their_own_are_refused(runner, monkeypatch, launcher, variables, refused):
    monkeypatch.setattr(launching, "end_with_parent", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE", "SLURM_LOCALID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if refused:
        expected = r"2 processes on this machine and 1 CUDA device.*CUDA_VISIBLE_DEVICES="
        with pytest.raises(ConfigError, match=expected) as error:
            train(runner, monkeypatch, "--launcher", launcher)
        assert ("ask for --gres" in str(error.value)) == (launcher == "slurm")
    else:
        train(runner, monkeypatch, "--launcher", launcher)
    # Without CUDA there are as many as one likes.
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert train(runner, monkeypatch, "--launcher", launcher).launcher == launcher
