"""Reading, restoring and writing overlap, and nothing else changes."""

import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

from dtir import RestorationInferencer
from dtir.apis.archive.archive import run_here
from dtir.apis.archive.folder import Failure, Job
from dtir.apis.archive.overlap import run_overlapped
from dtir.apis.restoring.wish import Wish
from dtir.core.errors import ImageFileError

JOBS = [Job(Path(f"in{number}"), Path(f"out{number}")) for number in range(5)]
SECONDS = 20


class Steps:
    """Takes the four steps of a picture, of which `fail` names one by its number, and notes them.

    The writing of a picture ends only once the next one is being restored.
    """

    def __init__(self, fail=None, error=None):
        self.done, self.fail, self.error, self.held, self.most = [], fail, error, 0, 0
        self.restoring = {job: threading.Event() for job in JOBS}

    def _step(self, name, job):
        self.done.append((name, JOBS.index(job)))
        if self.fail == self.done[-1]:
            raise self.error

    def read(self, source, target):
        self.held += 1
        self.most = max(self.most, self.held)
        self._step("read", Job(source, target))
        return Job(source, target)

    def restore(self, job, on_tile):
        self.restoring[job].set()
        self._step("restore", job)
        return job

    def write(self, job):
        following = JOBS[JOBS.index(job) + 1 :]
        assert not following or self.restoring[following[0]].wait(SECONDS)
        self._step("write", job)
        return job

    def name(self, job):
        self.held -= 1
        self._step("name", job)
        return job


def run(steps):
    return [(job, done.result) for job, done in run_overlapped(steps, JOBS, lambda job: None)]


def listen(steps, done):
    for job, _ in run_overlapped(steps, JOBS, lambda job: None):
        done.append(job)


def test_a_picture_is_written_while_the_next_is_restored_and_another_read():
    steps = Steps()
    assert run(steps) == [(job, job) for job in JOBS]
    assert [number for name, number in steps.done if name == "name"] == [0, 1, 2, 3, 4]
    # One that is read, one that is restored, one that is written, and no more.
    assert steps.most <= 3


@pytest.mark.parametrize("step", ["read", "restore", "write", "name"])
def test_a_step_that_fails_is_its_picture_s_failure_in_its_place(step):
    steps = Steps((step, 2), ImageFileError("damaged"))
    if step == "read":
        steps.restoring[JOBS[2]].set()
    assert run(steps) == [(job, Failure(job.source, "damaged") if job is JOBS[2] else job) for job in JOBS]


@pytest.mark.parametrize("step", ["read", "restore", "write", "name"])
def test_an_error_of_the_program_is_raised_after_what_was_done(step):
    steps, done = Steps((step, 2), AssertionError("a fault")), []
    if step == "read":
        steps.restoring[JOBS[2]].set()
    with pytest.raises(AssertionError, match="a fault"):
        listen(steps, done)
    assert [number for name, number in steps.done if name == "name" and number != 2] == [0, 1]


def test_an_interruption_names_what_was_restored_before():
    steps, done = Steps(("restore", 3), KeyboardInterrupt()), []
    with pytest.raises(KeyboardInterrupt):
        listen(steps, done)
    assert done == JOBS[:3]


def test_who_stops_listening_ends_the_run():
    steps = Steps()
    pictures = run_overlapped(steps, JOBS, lambda job: None)
    assert next(pictures)[0] == JOBS[0]
    steps.restoring[JOBS[2]].set()
    pictures.close()
    assert ("name", 1) not in steps.done
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(("reading", "writing"))]


def test_files_are_those_of_one_after_the_other(inverting_restorer, tmp_path):
    inferencer = RestorationInferencer(inverting_restorer)
    sources = [tmp_path / f"{number}.png" for number in range(4)]
    for number, source in enumerate(sources):
        cv2.imwrite(str(source), np.random.default_rng(number).integers(0, 256, (20 + number, 30, 3), np.uint8))
    sources[2].write_bytes(b"no picture")
    restorer = inferencer.file_restorer(Wish(inferencer.tasks[0]), overwrite=True)
    outcomes = []
    for name, way in {"turns": run_here, "overlap": run_overlapped}.items():
        jobs = [Job(source, tmp_path / name / source.name) for source in sources]
        done = list(way(restorer, jobs, lambda job: None))
        outcomes.append([(job.source, str(result), origin) for job, (result, origin) in done])
    assert outcomes[0] == outcomes[1]
    assert "2.png" in outcomes[0][2][1]
    names = sorted(path.name for path in (tmp_path / "turns").iterdir())
    assert names == ["0.png", "1.png", "3.png"]
    for name in names:
        assert (tmp_path / "turns" / name).read_bytes() == (tmp_path / "overlap" / name).read_bytes()
