"""Pictures restored on a cluster of this machine: workers that are ended, faults, and the bytes of one process.

Workers import this module; what is heavy is imported where it is used.
"""

import contextlib
import json
import os
import pickle
import signal
import socket
from pathlib import Path

import pytest

from dtir.apis.archive import cluster, ray_pipeline
from dtir.apis.archive.cluster import Cluster, check_machines, what_is_missing
from dtir.apis.archive.folder import Failure, Job
from dtir.apis.archive.ray_pipeline import run_on_cluster
from dtir.apis.archive.workers import Recipe
from dtir.core.errors import ConfigError, ImageFileError, LibraryError

CONFIG = {"type": "SupervisedRestorer", "backbone": {"type": "TinyBackbone", "width": 2}, "tasks": ["hazy", "noisy"]}


def make(folder):
    """Turns bytes round; some names end the process, once or always, and each try is noted in a file."""
    (folder / f"begun-{os.getpid()}").touch()

    def restore_one(source, target, on_tile):
        with (folder / "tries").open("a") as tries:
            tries.write(f"{source.name}\n")
        if source.name == "deadly" or (source.name == "once" and not (folder / "ended").exists()):
            (folder / "ended").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if source.name == "bad":
            raise ImageFileError(f"{source} is no picture")
        if source.name == "fault":
            raise ZeroDivisionError("a fault of the program")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(source.read_bytes()[::-1])
        return "done"

    return restore_one


@pytest.fixture(scope="module")
def ray(tmp_path_factory):
    """A cluster with room for two workers."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'dtir[ray]'")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path_factory.mktemp("token") / "token"))
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Beside other work, workers as nice as Ray makes them would take minutes.
        patch.setenv("RAY_worker_niceness", "0")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env={"env_vars": paths()})
        yield ray
        ray.shutdown()


def paths():
    folders = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(folders), "OMP_NUM_THREADS": "1"}


def jobs_of(folder, *names):
    (folder / "in").mkdir()
    for name in names:
        (folder / "in" / name).write_bytes(name.encode() * 50)
    return [Job(folder / "in" / name, folder / "out" / name) for name in names]


def run(jobs, folder):
    items = run_on_cluster(jobs, lambda device: Recipe(make, (folder,)), Cluster(), 2, "cpu", [])
    return {job.source.name: done for job, done in items}


def test_a_worker_that_is_ended_costs_nothing(ray, tmp_path):
    jobs = jobs_of(tmp_path, "a", "once", "bad", "b", "c", "d", "deadly")
    here = Job(jobs[0].source, jobs[0].source)
    done = run([*jobs, here._replace(source=tmp_path / "gone", target=tmp_path / "out" / "gone")], tmp_path)

    good = [job for job in jobs if job.source.name not in ("bad", "deadly")]
    assert {name for name, one in done.items() if one.result == "done"} == {job.source.name for job in good}
    for source, target in good:
        assert target.read_bytes() == source.read_bytes()[::-1]
    assert done["bad"].result == Failure(jobs[2].source, f"{jobs[2].source} is no picture")
    assert "ended twice" in done["deadly"].result.reason
    assert "gone" in done["gone"].result.reason
    assert done["a"].origin.size == 50
    tries = (tmp_path / "tries").read_text().split()
    assert tries.count("once") == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(job.source.name for job in good)


def test_faults_of_the_program_are_not_passed_over(ray, tmp_path):
    with pytest.raises(RuntimeError, match=r"(?s)fault of the program.*ZeroDivisionError"):
        run(jobs_of(tmp_path, "fault"), tmp_path)


def test_a_cluster_writes_the_bytes_of_one_process_and_goes_on_by_its_log(ray, tmp_path):
    import cv2
    import numpy as np

    import dtir.testing.models  # noqa: F401 - registers TinyBackbone.
    from dtir.apis.archive.archive import ArchiveOptions
    from dtir.apis.inferencer import RestorationInferencer
    from dtir.apis.models.files import write_model_file
    from dtir.registry import RESTORERS

    (tmp_path / "in").mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        assert cv2.imwrite(str(tmp_path / "in" / f"{number}.png"), rng.integers(0, 256, (20, 30 + number, 3), np.uint8))
    model = RESTORERS.build(CONFIG)
    model.model_cfg = CONFIG
    write_model_file(tmp_path / "tiny.safetensors", model)
    inferencer = RestorationInferencer(tmp_path / "tiny.safetensors", device="cpu")
    inferencer.restore_paths(tmp_path / "in", tmp_path / "alone", "hazy")
    options = ArchiveOptions(
        log=tmp_path / "log.jsonl", jobs=1, imports=("dtir.testing.models",), cluster=Cluster("auto")
    )
    reports = []
    for _ in range(2):
        reports.append(inferencer.restore_paths(tmp_path / "in", tmp_path / "out", "hazy", archive=options))
        lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
        assert sorted(line["input"] for line in lines) == [str(tmp_path / "in" / f"{n}.png") for n in range(4)]
        (tmp_path / "out" / "2.png").touch()

    assert [(len(report.restored), len(report.skipped)) for report in reports] == [(4, 0), (0, 4)]
    assert {line["status"] for line in lines} == {"restored"}
    for number in range(4):
        name = f"{number}.png"
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "alone" / name).read_bytes()


def test_machines_say_what_they_lack(ray, tmp_path, monkeypatch):
    check_machines(ray, [tmp_path], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
    with pytest.raises(ConfigError, match=r"machine [\d.]+ of the cluster does not see '.*nowhere'; the inputs"):
        check_machines(ray, [tmp_path / "nowhere"], tmp_path / "out")


def test_a_machine_that_does_not_share_the_output_folder(tmp_path):
    mark = tmp_path / "mark"
    assert "does not see the output folder" in what_is_missing([], tmp_path, mark)
    mark.touch()
    assert what_is_missing([tmp_path], tmp_path, mark) == ""
    assert "cannot write: the output folder" in what_is_missing([], mark, mark)


def test_an_output_that_cannot_be_written_has_failed(tmp_path):
    (tmp_path / "file").touch()
    item = ray_pipeline.Item(0, Job(tmp_path / "a", tmp_path / "file" / "a"), b"content")
    row = ray_pipeline.write({ray_pipeline.COLUMN: pickle.dumps(item)})
    assert "cannot write" in pickle.loads(row[ray_pipeline.COLUMN]).done.result.reason


def test_a_large_file_and_one_that_would_be_replaced_stay_where_they_are(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"12345")
    same, other = Job(tmp_path / "a", tmp_path / "a"), Job(tmp_path / "a", tmp_path / "b")
    assert ray_pipeline.read(ray_pipeline.Item(0, other)).content == b"12345"
    assert ray_pipeline.read(ray_pipeline.Item(0, same)).content is None
    monkeypatch.setattr(ray_pipeline, "LARGEST_PASSED", 4)
    assert ray_pipeline.read(ray_pipeline.Item(0, other)).content is None


@pytest.mark.parametrize("address", ["scans", "scans/2024", "ray://host:10001", "host:"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ConfigError, match=f"'{address}' is no address"):
        Cluster(address)


def test_an_address_at_which_nothing_answers_is_said_at_once(monkeypatch):
    monkeypatch.setattr(cluster, "find_spec", lambda name: name)
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(ConfigError, match=rf"no Ray cluster answers at {address} \(Connection refused\)"):
        Cluster(address).check()


def test_missing_extras_are_named(monkeypatch):
    monkeypatch.setattr(cluster, "find_spec", lambda name: None)
    with pytest.raises(LibraryError, match=r"pip install 'dtir\[ray\]'"):
        Cluster().check()
    monkeypatch.setattr(cluster, "find_spec", lambda name: name if name == "ray" else None)
    with pytest.raises(LibraryError, match=r"pip install 'ray\[default\]'"):
        Cluster(dashboard=True).check()
