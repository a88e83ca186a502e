"""Trainings of the comparisons: done once, gone on with, and what is said of those that fail or are stopped."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from mmengine.config import Config

from benchmarks import lab
from dtir.core.errors import ConfigError

# What takes the place of tools/train.py: it says that it began, and then does what its folder's file `do` says.
STUB = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[sys.argv.index("--work-dir") + 1])

def save(*_):
    time.sleep(0.6)
    (folder / "saved").touch()
    sys.exit(143)

signal.signal(signal.SIGTERM, save)
signal.signal(signal.SIGINT, save)
with open(folder / "calls", "a") as file:
    file.write(" ".join(sys.argv[1:]).replace(str(folder), "FOLDER") + "\\n")
exec((folder / "do").read_text())
"""
PARENT = """
import pathlib, sys
from mmengine.config import Config
from benchmarks import lab
lab.REPO = pathlib.Path(sys.argv[1])
lab.train(Config({"train_cfg": {"stages": [{"iters": 3}]}}), pathlib.Path(sys.argv[2]), 1)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Of a training that is STUB."""
    monkeypatch.setattr(lab, "REPO", tmp_path)
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "train.py").write_text(STUB)
    folder = tmp_path / "some where"
    folder.mkdir()
    return folder


def train(folder, *iters: int):
    config = Config({"train_cfg": {"stages": [{"iters": count} for count in iters or (3,)]}})
    return lab.train(config, folder, 1)


def checkpoint(folder):
    torch.save({}, folder / "iter_3.pth")
    (folder / "last_checkpoint").write_text(str(folder / "iter_3.pth"))


def test_it_is_done_once_and_gone_on_with(folder):
    (folder / "do").write_text("sys.exit(2)")
    with pytest.raises(ConfigError, match="failed"):
        train(folder)
    checkpoint(folder)
    (folder / "do").write_text("")
    assert train(folder) == train(folder) == folder / "iter_3.pth"
    first, second = (folder / "calls").read_text().splitlines()
    assert first == "FOLDER/lab.py --work-dir FOLDER"
    assert second == f"{first} --resume"


def test_a_folder_keeps_one_length(folder):
    checkpoint(folder)
    (folder / "do").write_text("")
    train(folder, 3, 4)
    with pytest.raises(ConfigError, match=r"holds a training of 3 \+ 4 iterations, not 3 \+ 400; name another folder"):
        train(folder, 3, 400)
    lab.check_length(folder / "new", [7])


def test_a_failure_is_told_with_the_last_line_of_the_log(folder):
    (folder / "do").write_text("print('Error: no folder data/clean.\\n'); sys.exit(2)")
    with pytest.raises(ConfigError) as error:
        train(folder)
    said = f"the training in '{folder}' failed (exit code 2): Error: no folder data/clean. Its log is"
    assert str(error.value) == f"{said} '{folder / 'out.log'}'."
    (folder / "do").write_text("sys.exit(143)")
    with pytest.raises(ConfigError, match="was stopped; run the same command again, and it goes on"):
        train(folder)
    assert not (folder / lab.TRAINED).exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_training_writes_its_checkpoint_when_it_is_interrupted_and_when_its_parent_is_killed(folder, how):
    (folder / "do").write_text("time.sleep(60)")
    command = [sys.executable, "-c", PARENT, str(folder.parent), str(folder)]
    parent = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL)
    wait_for(folder / "calls")
    if how == signal.SIGKILL:
        parent.kill()
    else:
        # As a terminal does.
        os.killpg(parent.pid, how)
    assert parent.wait(30) != 0
    wait_for(folder / "saved")
    assert not (folder / lab.TRAINED).exists()


def wait_for(path, seconds: float = 60):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} was not written"
        time.sleep(0.05)
