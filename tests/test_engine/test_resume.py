"""A run stopped at any moment and resumed ends with the same bits."""

import multiprocessing
import os
import signal
import subprocess
import time

import pytest
from tiny_run import assert_same_state, last_state, run_process, tiny_config, train, train_command

from dtir.core.stage_hook import StageHook
from dtir.engine import StagedRunner
from dtir.engine.hooks import PreemptionHook
from dtir.testing.stopping import stopped

MAX_ITERS = 14
# Without the report, whose pictures take longer than the training.
HOOKS = [
    {"type": "StageEMAHook", "decay": 0.9},
    {"type": "TimestepMatchingHook", "before": "finetune", "num_images": 2, "batch_size": 2},
]


class AskedToStop(StageHook):
    def __init__(self, at):
        self.at = at

    def before_optim_step(self, runner, step):
        if runner.iter == self.at:
            os.kill(os.getpid(), signal.SIGTERM)


class JobAskedToStop(AskedToStop):
    def before_optim_step(self, runner, step):
        workers = multiprocessing.active_children() if runner.iter == self.at else []
        if workers:
            # From another process: torch's workers end in peace where it is their parent that signals.
            subprocess.run(["kill", "-TERM", *(str(worker.pid) for worker in workers)], check=True)
        super().before_optim_step(runner, step)
        # What torch would say of workers that are gone comes within a moment.
        time.sleep(0.5 * bool(workers))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("uninterrupted")
    train(work_dir, custom_hooks=HOOKS)
    return work_dir


@pytest.fixture(scope="module")
def uninterrupted(finished):
    return last_state(finished)


# 0: nothing saved yet; 3, 4: at and after the end of pre-training (matching); 7: within a stage; 13: the last step.
@pytest.mark.parametrize("iteration", [0, 3, 4, 7, 13])
def test_stop_anywhere_and_resume(tmp_path, uninterrupted, iteration):
    runner = StagedRunner.from_cfg(tiny_config(tmp_path, custom_hooks=HOOKS))
    with stopped(runner, "before_optim_step", iteration):
        runner.train()
    train(tmp_path, resume=True, custom_hooks=HOOKS)
    resumed = last_state(tmp_path)
    assert resumed["meta"]["iter"] == MAX_ITERS
    assert_same_state(resumed, uninterrupted)
    assert resumed["matching"] == uninterrupted["matching"]
    assert resumed["meta"]["best"] == uninterrupted["meta"]["best"]


def test_a_run_that_the_system_ends_saves_and_resumes_to_the_same_bits(tmp_path, uninterrupted):
    runner = StagedRunner.from_cfg(tiny_config(tmp_path, custom_hooks=HOOKS))
    # After step 7 of 14; checkpoints are otherwise at the ends of stages and every third step.
    runner.register_hook(AskedToStop(at=6))
    handler = signal.getsignal(signal.SIGTERM)
    runner.train()
    assert last_state(tmp_path)["meta"]["iter"] == 7
    assert [hook.asked for hook in runner.hooks if isinstance(hook, PreemptionHook)] == ["SIGTERM"]
    assert signal.getsignal(signal.SIGTERM) == handler
    train(tmp_path, resume=True, custom_hooks=HOOKS)
    assert_same_state(last_state(tmp_path), uninterrupted)


class Interrupted(StageHook):
    """Ctrl-C within the seventh step, which a terminal tells the workers too."""

    def before_optim_step(self, runner, step):
        if runner.iter == 6:
            for pid in (os.getpid(), *(worker.pid for worker in multiprocessing.active_children())):
                os.kill(pid, signal.SIGINT)
            time.sleep(0.5)


def test_an_interrupted_run_saves_and_resumes_to_the_same_bits(interruptible, tmp_path, uninterrupted, capfd):
    runner = StagedRunner.from_cfg(tiny_config(tmp_path, custom_hooks=HOOKS, **{"train_dataloader.num_workers": 1}))
    runner.register_hook(Interrupted())
    runner.train()
    assert last_state(tmp_path)["meta"]["iter"] == 7
    assert "Ctrl-C once more stops at once" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    train(tmp_path, resume=True, custom_hooks=HOOKS)
    assert_same_state(last_state(tmp_path), uninterrupted)


class InterruptedTwice(StageHook):
    def before_optim_step(self, runner, step):
        if runner.iter == 6:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)


def test_a_second_interruption_ends_a_run_at_once(interruptible, tmp_path):
    runner = StagedRunner.from_cfg(tiny_config(tmp_path, custom_hooks=HOOKS))
    runner.register_hook(InterruptedTwice())
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert runner.iter == 6


def test_a_job_in_the_background_goes_on_ignoring_interruptions(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        runner = StagedRunner.from_cfg(tiny_config(tmp_path, custom_hooks=HOOKS))
        runner.register_hook(Interrupted())
        runner.train()
    finally:
        signal.signal(signal.SIGINT, before)
    assert last_state(tmp_path)["meta"]["iter"] == MAX_ITERS


def test_a_system_that_ends_the_workers_too_gets_a_checkpoint(tmp_path, uninterrupted):
    runner = StagedRunner.from_cfg(tiny_config(tmp_path, custom_hooks=HOOKS, **{"train_dataloader.num_workers": 1}))
    runner.register_hook(JobAskedToStop(at=6))
    runner.train()
    assert last_state(tmp_path)["meta"]["iter"] == 7
    train(tmp_path, resume=True, custom_hooks=HOOKS)
    assert_same_state(last_state(tmp_path), uninterrupted)


class JobAskedToStopInValidation(StageHook):
    def before_val_iter(self, runner, batch_idx, data_batch=None):
        workers = [worker for worker in multiprocessing.active_children() if runner.iter == 5 and batch_idx == 0]
        if workers:
            everyone = [os.getpid(), *(worker.pid for worker in workers)]
            subprocess.run(["kill", "-TERM", *map(str, everyone)], check=True)
            time.sleep(0.5)


def test_a_system_that_ends_a_job_within_its_validation_gets_a_checkpoint(tmp_path, uninterrupted):
    workers = {"val_dataloader.num_workers": 1}
    runner = StagedRunner.from_cfg(tiny_config(tmp_path, custom_hooks=HOOKS, **workers))
    runner.register_hook(JobAskedToStopInValidation())
    runner.train()
    assert last_state(tmp_path)["meta"]["iter"] == 5
    train(tmp_path, resume=True, custom_hooks=HOOKS)
    assert_same_state(last_state(tmp_path), uninterrupted)


class AskedWithinAnEstimate(StageHook):
    def on_estimate(self, runner, what, done, total):
        if done == 1:
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_signal_ends_an_estimate_at_once(tmp_path, uninterrupted):
    runner = StagedRunner.from_cfg(tiny_config(tmp_path, custom_hooks=HOOKS))
    runner.register_hook(AskedWithinAnEstimate(), priority="HIGHEST")
    runner.train()
    # Pre-training has four iterations, and the matching comes after them.
    assert last_state(tmp_path)["meta"]["iter"] == 4
    assert not (tmp_path / "matching").exists()
    train(tmp_path, resume=True, custom_hooks=HOOKS)
    assert_same_state(last_state(tmp_path), uninterrupted)


def test_workers_do_not_change_the_result(tmp_path, uninterrupted):
    train(tmp_path, custom_hooks=HOOKS, **{"train_dataloader.num_workers": 2})
    assert_same_state(last_state(tmp_path), uninterrupted)


def test_resuming_a_finished_run_changes_nothing(finished):
    before = (finished / f"iter_{MAX_ITERS}.pth").read_bytes()
    train(finished, resume=True, custom_hooks=HOOKS)
    assert (finished / f"iter_{MAX_ITERS}.pth").read_bytes() == before


def test_killed_process_resumes_to_the_same_bits(tmp_path, uninterrupted):
    work_dir = tmp_path / "killed"
    command = train_command(work_dir, "--cfg-options", "train_dataloader.num_workers=2")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while not (work_dir / "last_checkpoint").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert last_state(work_dir)["meta"]["iter"] < MAX_ITERS
    resumed = run_process([*command[:-2], "--resume"])
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert_same_state(last_state(work_dir), uninterrupted)
