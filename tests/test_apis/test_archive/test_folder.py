import cv2
import numpy as np
import pytest

from dtir.apis import RestorationInferencer
from dtir.apis.archive.archive import ArchiveOptions
from dtir.apis.archive.folder import OutputNames, plan_jobs
from dtir.core.errors import ConfigError, ImageFileError, TaskError


@pytest.fixture
def inferencer(inverting_restorer):
    return RestorationInferencer(inverting_restorer, device="cpu")


def make_pictures(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.full((6, 8, 3), 100, np.uint8))


def files_in(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_sub_folders_are_mirrored(inferencer, tmp_path):
    make_pictures(tmp_path / "in", "a.png", "x/b.jpg", "x/y/c.bmp")
    (tmp_path / "in/notes.txt").write_text("no picture")
    report = inferencer.restore_folder(tmp_path / "in", tmp_path / "out", task="noisy", recursive=True)
    assert files_in(tmp_path / "out") == ["a.png", "x/b.jpg", "x/y/c.bmp"]
    assert (len(report.restored), report.skipped, report.failed) == (3, [], [])
    assert (cv2.imread(str(tmp_path / "out/a.png")) == 155).all()
    assert inferencer.restorer.seen_t == [6, 6, 6]


def test_sub_folders_are_left_out_without_recursive(inferencer, tmp_path):
    make_pictures(tmp_path / "in", "a.png", "x/b.png")
    inferencer.restore_folder(tmp_path / "in", tmp_path / "out", t=0)
    assert files_in(tmp_path / "out") == ["a.png"]


def test_bad_files_do_not_stop_the_good_ones(inferencer, tmp_path):
    make_pictures(tmp_path / "in", "a.png", "c.png")
    whole = (tmp_path / "in/a.png").read_bytes()
    (tmp_path / "in/b.png").write_bytes(whole[:-20])
    (tmp_path / "in/empty.jpg").write_bytes(b"")
    (tmp_path / "in/gone.png").symlink_to("nowhere.png")
    inputs = [tmp_path / "in", tmp_path / "missing.png", tmp_path / "in/notes.txt"]
    (tmp_path / "in/notes.txt").write_text("no picture")
    report = inferencer.restore_paths(inputs, tmp_path / "out", t=0)
    assert [path.name for path in report.restored] == ["a.png", "c.png"]
    reasons = {failure.path.name: failure.reason for failure in report.failed}
    assert set(reasons) == {"b.png", "empty.jpg", "gone.png", "missing.png", "notes.txt"}
    assert "ends early" in reasons["b.png"]
    assert "0 bytes" in reasons["empty.jpg"]
    assert "a link to 'nowhere.png', which is not there" in reasons["gone.png"]
    assert "check the path" in reasons["missing.png"]
    assert "extension" in reasons["notes.txt"]
    assert files_in(tmp_path / "out") == ["a.png", "c.png"]


def test_failing_disk_leaves_nothing_half_written(inferencer, tmp_path, monkeypatch):
    make_pictures(tmp_path / "in", "a.png")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    report = inferencer.restore_folder(tmp_path / "in", tmp_path / "out", t=0)
    assert "No space left" in report.failed[0].reason
    assert files_in(tmp_path / "out") == []


def test_errors_of_the_program_are_not_swallowed(inferencer, tmp_path, monkeypatch):
    make_pictures(tmp_path / "in", "a.png")
    monkeypatch.setattr(inferencer.runner, "_restore", lambda tiles, t: tiles[..., 1:])
    with pytest.raises(ValueError, match="changed the shape"):
        inferencer.restore_folder(tmp_path / "in", tmp_path / "out", t=0)


def test_existing_outputs_are_skipped_unless_overwrite(inferencer, tmp_path):
    make_pictures(tmp_path / "in", "a.png", "b.png")
    make_pictures(tmp_path / "out", "a.png")
    report = inferencer.restore_folder(tmp_path / "in", tmp_path / "out", t=0)
    assert ([p.name for p in report.restored], [p.name for p in report.skipped]) == (["b.png"], ["a.png"])
    assert (cv2.imread(str(tmp_path / "out/a.png")) == 100).all()
    report = inferencer.restore_folder(tmp_path / "in", tmp_path / "out", t=0, overwrite=True)
    assert [p.name for p in report.restored] == ["a.png", "b.png"]
    assert (cv2.imread(str(tmp_path / "out/a.png")) == 155).all()


def test_restoring_into_the_input_folder_is_refused_per_picture(inferencer, tmp_path):
    make_pictures(tmp_path / "in", "a.png")
    report = inferencer.restore_folder(tmp_path / "in", tmp_path / "in", t=0, overwrite=True)
    assert "would replace the input" in report.failed[0].reason
    assert (cv2.imread(str(tmp_path / "in/a.png")) == 100).all()


def test_outputs_inside_the_input_folder_are_not_inputs_of_the_next_run(inferencer, tmp_path):
    make_pictures(tmp_path / "in", "a.png")
    for _ in range(2):
        report = inferencer.restore_folder(tmp_path / "in", tmp_path / "in/restored", t=0, recursive=True)
    assert files_in(tmp_path / "in") == ["a.png", "restored/a.png"]
    assert report.failed == []


def test_two_pictures_are_never_written_to_one_file(tmp_path):
    make_pictures(tmp_path, "x/a.png", "y/a.png")
    x, y = tmp_path / "x/a.png", tmp_path / "y/a.png"
    jobs, failed, _ = plan_jobs([x, y, x, tmp_path / "x"], tmp_path / "out")
    assert jobs == [(x, tmp_path / "out/a.png")]
    assert [failure.path for failure in failed] == [y]
    assert f"already that of '{x}'" in failed[0].reason


def test_folder_without_pictures_hints_at_recursive(tmp_path):
    make_pictures(tmp_path / "in", "x/a.png")
    jobs, failed, _ = plan_jobs([tmp_path / "in"], tmp_path / "out")
    assert jobs == []
    assert "--recursive" in failed[0].reason


def test_output_that_is_a_file_and_unknown_task_stop_before_any_work(inferencer, tmp_path):
    make_pictures(tmp_path / "in", "a.png")
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigError, match="is a file; a folder is needed"):
        inferencer.restore_folder(tmp_path / "in", tmp_path / "out", t=0)
    with pytest.raises(TaskError):
        inferencer.restore_folder(tmp_path / "in", tmp_path / "new", task="foggy")
    assert not (tmp_path / "new").exists()


def test_one_path_is_one_path(inferencer, tmp_path):
    make_pictures(tmp_path / "in", "a.png")
    for number, path in enumerate((str(tmp_path / "in"), tmp_path / "in/a.png")):
        report = inferencer.restore_paths(path, tmp_path / f"out{number}", t=0)
        assert ([done.name for done in report.restored], report.failed) == (["a.png"], [])


def test_what_a_folder_leaves_out_is_counted(inferencer, tmp_path):
    make_pictures(tmp_path / "in", "a.png")
    for name in ("b.jp2", "c.JP2", "d.heic", "._a.png"):
        (tmp_path / "in" / name).touch()
    report = inferencer.restore_paths(tmp_path / "in", tmp_path / "out", t=0)
    assert report.left_out == {".jp2": 2, ".heic": 1}


def test_no_input_is_replaced_by_the_output_of_another(inferencer, tmp_path):
    make_pictures(tmp_path / "in", "a.png", "a.jpg", "b.png", "b_r.png")
    archive = ArchiveOptions(file_format="png")
    report = inferencer.restore_paths(tmp_path / "in", tmp_path / "in", t=0, overwrite=True, archive=archive)
    assert report.restored == []
    assert (cv2.imread(str(tmp_path / "in/a.png")) == 100).all()
    report = inferencer.restore_paths(
        tmp_path / "in", tmp_path / "in", t=0, overwrite=True, archive=ArchiveOptions(suffix="_r")
    )
    assert [failure.path.name for failure in report.failed] == ["b.png"]
    assert "would replace another input" in report.failed[0].reason
    assert (cv2.imread(str(tmp_path / "in/b_r.png")) == 100).all()


def test_a_named_output_and_another_name_contradict_each_other(tmp_path):
    make_pictures(tmp_path, "a.png")
    for names in (OutputNames(extension=".jpg"), OutputNames(suffix="_r")):
        with pytest.raises(ConfigError, match="whole name"):
            plan_jobs(tmp_path / "a.png", tmp_path / "b.png", names=names)
    jobs, *_ = plan_jobs(tmp_path / "a.png", tmp_path / "b.png", names=OutputNames(extension=".png"))
    assert jobs == [(tmp_path / "a.png", tmp_path / "b.png")]


def test_the_name_of_one_picture_is_no_folder_of_several(tmp_path):
    make_pictures(tmp_path, "in/a.png", "in/b.png")
    for inputs in (tmp_path / "in", [tmp_path / "in" / "a.png", tmp_path / "in" / "b.png"]):
        with pytest.raises(ConfigError, match=r"out\.png' is the name of one picture, .* name a folder"):
            plan_jobs(inputs, tmp_path / "out.png")
    (tmp_path / "out.png").mkdir()
    assert len(plan_jobs(tmp_path / "in", tmp_path / "out.png").jobs) == 2


def test_an_empty_path_is_not_the_present_folder(inferencer, tmp_path, monkeypatch):
    make_pictures(tmp_path, "in/a.png")
    monkeypatch.chdir(tmp_path)
    for paths in (("", "out"), ("in", "")):
        with pytest.raises(ImageFileError, match="a path is empty"):
            inferencer.restore_paths(*paths, t=0)
    assert files_in(tmp_path) == ["in/a.png"]
