import hashlib
import os

import pytest

from dtir.apis.archive.attempt import Origin, attempt
from dtir.apis.archive.folder import Failure, Job
from dtir.core.errors import ImageFileError


def job_of(folder):
    (folder / "a").write_bytes(b"content")
    return Job(folder / "a", folder / "b")


def test_an_input_that_changes_meanwhile_is_not_taken_for_the_one_that_was_restored(tmp_path):
    job = job_of(tmp_path)
    os.utime(job.source, ns=(5, 5))
    done = attempt(lambda source, target, on_tile: os.utime(source, ns=(9, 9)) or "done", job, None)
    assert done == ("done", Origin(hashlib.sha256(b"content").hexdigest(), 7, 5))


@pytest.mark.parametrize(
    ("error", "reason"), [(ImageFileError("no picture"), "no picture"), (MemoryError(), "MemoryError")]
)
def test_an_error_of_the_picture_is_a_failure(tmp_path, error, reason):
    job = job_of(tmp_path)

    def fail(*_):
        raise error

    done = attempt(fail, job, None)
    assert done.result == Failure(job.source, reason)
    assert done.origin.size == 7


def test_what_is_skipped_is_not_read_and_what_is_gone_has_no_hash(tmp_path):
    assert attempt(lambda *_: None, job_of(tmp_path), None).origin is None
    gone = Job(tmp_path / "gone", tmp_path / "b")
    assert attempt(lambda *_: "done", gone, None).origin == Origin(None, None, None)


def test_an_error_of_the_program_is_raised(tmp_path):
    with pytest.raises(ZeroDivisionError):
        attempt(lambda *_: 1 / 0, job_of(tmp_path), None)
