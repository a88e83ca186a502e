"""Worker processes that do nothing but arithmetic, and one that is ended from outside."""

import os
import signal
from pathlib import Path

import pytest

from dtir.apis.archive.folder import Failure, Job
from dtir.apis.archive.workers import Recipe, run_in_processes
from dtir.core.errors import CheckpointError, ImageFileError


def make(text):
    def restore_one(source, target, on_tile):
        if source.name == "deadly":
            os.kill(os.getpid(), signal.SIGKILL)
        if source.name == "bad":
            raise ImageFileError("no picture")
        if source.name == "fault":
            raise ZeroDivisionError("a fault of the program")
        return f"{text} {source.name}"

    return restore_one


def run(*names):
    jobs = [Job(Path(name), Path("out") / name) for name in names]
    return {job.source.name: done.result for job, done in run_in_processes(jobs, Recipe(make, ("done",)), 2)}


def test_a_worker_that_is_ended_costs_its_own_picture_alone():
    results = run("a", "deadly", "b", "bad", "c")
    assert {name: results[name] for name in "abc"} == {name: f"done {name}" for name in "abc"}
    assert results["bad"] == Failure(Path("bad"), "no picture")
    assert "ended twice" in results["deadly"].reason


def test_faults_of_the_program_are_not_passed_over():
    with pytest.raises(ZeroDivisionError):
        run("fault")


def lacks_its_weights():
    raise CheckpointError("no checkpoint at 'gone.pth'")


def test_what_cannot_be_made_in_a_process_is_said_as_it_is():
    job = Job(Path("a"), Path("out") / "a")
    with pytest.raises(CheckpointError, match=r"no checkpoint at 'gone\.pth'"):
        list(run_in_processes([job], Recipe(lacks_its_weights, ()), 1))
