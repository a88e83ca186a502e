"""Many files: names, formats, the log, going on after an interruption, several processes, previews and sheets."""

import errno
import hashlib
import json
import os
import re
import sys

import cv2
import numpy as np
import pytest

import dtir.testing.models  # noqa: F401 - registers TinyBackbone.
from dtir.apis import RestorationInferencer
from dtir.apis.archive import job_log
from dtir.apis.archive.archive import ArchiveOptions
from dtir.apis.archive.share import Share
from dtir.apis.archive.sheet import write_sheet
from dtir.apis.models.files import write_model_file
from dtir.core.atomic import temporary_stem
from dtir.core.errors import ConfigError, ImageFileError
from dtir.registry import RESTORERS

CONFIG = {"type": "SupervisedRestorer", "backbone": {"type": "TinyBackbone", "width": 2}, "tasks": ["hazy", "noisy"]}


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(4):
        assert cv2.imwrite(str(folder / f"{number}.png"), rng.integers(0, 256, (20, 30 + number, 3), np.uint8))
    return folder


@pytest.fixture
def model_file(tmp_path):
    model = RESTORERS.build(CONFIG)
    model.model_cfg = CONFIG
    write_model_file(tmp_path / "tiny.safetensors", model)
    return tmp_path / "tiny.safetensors"


@pytest.fixture
def inferencer(model_file):
    return RestorationInferencer(model_file, device="cpu")


def run(inferencer, pictures, out, task="hazy", **options):
    done = []
    report = inferencer.restore_paths(
        [pictures],
        out,
        task,
        on_done=lambda job, outcome: done.append((job, outcome)),
        archive=ArchiveOptions(**options),
    )
    return report, done


def lines(log):
    return [json.loads(line) for line in log.read_text().splitlines()]


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_outputs_take_another_format_and_suffix(inferencer, pictures, tmp_path):
    run(inferencer, pictures, tmp_path / "out", file_format="TIF", suffix="_new")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [f"{n}_new.tif" for n in range(4)]
    restored = inferencer(cv2.imread(str(pictures / "1.png"))[..., ::-1].copy(), "hazy")
    written = cv2.imread(str(tmp_path / "out" / "1_new.tif"))[..., ::-1]
    np.testing.assert_array_equal(written, restored)


@pytest.mark.parametrize("file_format", ["jpg", "webp", "avif"])
def test_quality_makes_lossy_files_smaller(inferencer, pictures, tmp_path, file_format):
    sizes = []
    for quality in (20, 90, None):
        out = tmp_path / f"{quality}"
        run(inferencer, pictures, out, file_format=file_format, quality=quality)
        sizes.append(sum(path.stat().st_size for path in out.iterdir()))
    assert sizes[0] < 0.8 * sizes[1] < 0.8 * sizes[2]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"file_format": "xyz"}, "format 'xyz' is not written; use one of jpg"),
        ({"suffix": "a/b"}, "holds a path separator"),
        ({"quality": 0}, "quality=0"),
        ({"jobs": 0}, "jobs=0"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        ArchiveOptions(**options)


def test_the_log_tells_enough_to_repeat_a_picture(inferencer, model_file, pictures, tmp_path):
    (pictures / "bad.png").write_bytes(b"no picture")
    report, _ = run(inferencer, pictures, tmp_path / "out", log=tmp_path / "log.jsonl")
    assert len(report.failed) == 1
    entries = {line["input"]: line for line in lines(tmp_path / "log.jsonl")}
    line = entries[str(pictures / "2.png")]
    assert line["status"] == "restored"
    assert line["input_sha256"] == sha256(pictures / "2.png")
    assert line["settings"]["model_sha256"] == sha256(model_file)
    assert (line["width"], line["height"], line["task"], line["step"]) == (32, 20, "hazy", 0)
    assert line["passes"] == [{"task": "hazy", "confidence": None, "step": 0, "strength": 1.0}]
    assert line["output"] == str(tmp_path / "out" / "2.png")
    assert (line["settings"]["tile"], line["settings"]["strength"]) == ("auto", 1.0)
    failed = entries[str(pictures / "bad.png")]
    assert failed["status"] == "failed"
    assert "bad.png" in failed["error"]


def test_a_run_goes_on_by_its_log(inferencer, pictures, tmp_path):
    log, out = tmp_path / "log.jsonl", tmp_path / "out"
    run(inferencer, pictures, out, log=log)
    kept = log.read_text().splitlines()[:2]
    # As a run leaves it that is killed while it writes its third line.
    log.write_text("\n".join(kept) + "\n" + '{"input": "half')
    (out / "3.png").unlink()
    report, done = run(inferencer, pictures, out, log=log)
    assert [path.name for path in report.skipped] == ["0.png", "1.png", "2.png"]
    assert [job.source.name for job, _ in done] == ["3.png"]
    text = log.read_text().splitlines()
    assert text[2] == '{"input": "half'
    assert [json.loads(line)["status"] for line in [*text[:2], *text[3:]]] == [
        "restored",
        "restored",
        "existed",
        "restored",
    ]
    assert len(run(inferencer, pictures, out, log=log)[0].skipped) == 4
    assert log.read_text().splitlines() == text


def test_what_a_killed_run_left_half_written_is_removed(inferencer, pictures, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    long = "n" * 251 + ".png"
    (pictures / "2.png").rename(pictures / long)
    for name in (
        ".1.png.abcd_123.tmp",
        f".{temporary_stem(long)}.abcd_123.tmp",
        ".other.png.abcd_123.tmp",
        ".1.png.tmp",
    ):
        (out / name).write_text("half")
    report, _ = run(inferencer, pictures, out, log=tmp_path / "log.jsonl")
    assert report.failed == []
    hidden = sorted(path.name for path in out.iterdir() if path.name.startswith("."))
    assert hidden == [".1.png.tmp", ".other.png.abcd_123.tmp"]


@pytest.mark.parametrize("change", ["task", "input", "output"])
def test_what_changed_is_done_again_by_the_log(inferencer, pictures, tmp_path, change):
    log, out = tmp_path / "log.jsonl", tmp_path / "out"
    run(inferencer, pictures, out, log=log)
    if change == "input":
        assert cv2.imwrite(str(pictures / "3.png"), np.full((9, 9, 3), 40, np.uint8))
    if change == "output":
        (out / "3.png").unlink()
    report, done = run(inferencer, pictures, out, task="noisy" if change == "task" else "hazy", log=log)
    assert len(done) == (4 if change == "task" else 1)
    assert report.failed == []
    if change == "input":
        assert cv2.imread(str(out / "3.png")).shape == (9, 9, 3)


def test_an_output_of_somebody_else_stays(inferencer, pictures, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "1.png").write_bytes(b"mine")
    report, done = run(inferencer, pictures, out, log=tmp_path / "log.jsonl")
    assert (report.skipped, len(done)) == ([out / "1.png"], 3)
    assert (out / "1.png").read_bytes() == b"mine"


def test_a_log_that_cannot_be_written_is_said_before_any_work(inferencer, pictures, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"log '.*' cannot be written"):
        run(inferencer, pictures, tmp_path / "out", log=tmp_path / "file" / "log.jsonl")
    assert not (tmp_path / "out").exists()


def test_what_the_log_has_no_room_for_is_not_done(inferencer, pictures, tmp_path, monkeypatch):
    log, out, append, lines_left = tmp_path / "log.jsonl", tmp_path / "out", job_log.append_line, iter([1, 1])

    def full(path, line):
        if line and next(lines_left, None) is None:
            append(path, line[:50])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(path, line)

    monkeypatch.setattr(job_log, "append_line", full)
    with pytest.raises(ConfigError, match=r"log\.jsonl' cannot be written: No space left"):
        run(inferencer, pictures, out, log=log)
    assert sorted(os.listdir(out)) == ["0.png", "1.png"]
    monkeypatch.undo()
    report, _ = run(inferencer, pictures, out, log=log)
    assert [path.name for path in report.restored] == ["2.png", "3.png"]
    assert [path.name for path in report.skipped] == ["0.png", "1.png"]


@pytest.mark.parametrize(("name", "folder"), [("out", "out"), ("out.png", "")])
def test_an_output_folder_that_cannot_be_written_is_said_before_any_work(
    inferencer, pictures, tmp_path, monkeypatch, name, folder
):
    def refuse(dir):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("dtir.core.atomic.tempfile.TemporaryFile", refuse)
    monkeypatch.setattr(inferencer.runner, "_restore", None)
    with pytest.raises(ConfigError, match=rf"^the output folder {tmp_path / folder} cannot be written: Read-only"):
        inferencer.restore_paths([pictures / "1.png"], tmp_path / name, "hazy")


def test_several_processes_write_the_same_bytes(inferencer, pictures, tmp_path):
    (pictures / "bad.png").write_bytes(b"no picture")
    alone, _ = run(inferencer, pictures, tmp_path / "alone")
    options = {"jobs": 2, "imports": ("dtir.testing.models",), "log": tmp_path / "log.jsonl"}
    together, done = run(inferencer, pictures, tmp_path / "together", **options)
    assert [failure.path.name for failure in together.failed] == ["bad.png"]
    assert len(done) == len(together.restored) == len(alone.restored) == 4
    for path in (tmp_path / "alone").iterdir():
        assert path.read_bytes() == (tmp_path / "together" / path.name).read_bytes()
    assert len(lines(tmp_path / "log.jsonl")) == 5


def test_shares_make_the_whole_with_one_log_and_nothing_twice(inferencer, pictures, tmp_path):
    reports = [
        run(inferencer, pictures, tmp_path / "out", log=tmp_path / "log.jsonl", share=Share(number, 3))[0]
        for number in (1, 2, 3, 2)
    ]
    assert sum(len(report.restored) for report in reports) == 4
    assert reports[3].skipped == reports[1].restored
    assert sorted(line["input"] for line in lines(tmp_path / "log.jsonl")) == sorted(map(str, pictures.iterdir()))


def test_several_processes_need_a_model_file(inverting_restorer, pictures, tmp_path):
    with pytest.raises(ConfigError, match="give a name or a file"):
        run(RestorationInferencer(inverting_restorer, device="cpu"), pictures, tmp_path / "out", task="noisy", jobs=2)


def test_a_preview_measures_and_writes_nothing(inferencer, pictures, tmp_path):
    (pictures / "bad.png").write_bytes(b"no picture")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "0.png").write_bytes(b"mine")
    preview = inferencer.preview_paths([pictures], tmp_path / "out", "hazy", archive=ArchiveOptions(jobs=2))
    assert [planned.size for planned in preview.planned] == [(31, 20), (32, 20), (33, 20)]
    assert preview.megapixels == pytest.approx(96 * 20 / 1e6)
    assert [job.source.name for job in preview.skipped] == ["0.png"]
    assert [failure.path.name for failure in preview.failed] == ["bad.png"]
    assert preview.bytes == sum((pictures / f"{n}.png").stat().st_size for n in (1, 2, 3))
    assert preview.seconds == pytest.approx(preview.megapixels * preview.seconds_per_megapixel / 2)
    assert preview.seconds > 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0.png"]


def test_a_sheet_holds_both_sides_and_asks_for_nothing_else(inferencer, pictures, tmp_path):
    (pictures / "0.png").rename(pictures / "<b>&.png")
    _, done = run(inferencer, pictures, tmp_path / "out")
    (tmp_path / "out" / "3.png").unlink()
    page = write_sheet(tmp_path / "sheet.html", done, left_out=5).read_text()
    shown = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    assert len(shown) == 2 * 3
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "&lt;b&gt;&amp;.png" in page
    assert "hazy, step 0" in page
    assert "6 further pictures" in page
    with pytest.raises(ImageFileError, match="cannot write the page"):
        write_sheet(tmp_path / "out" / "1.png" / "sheet.html", done)


def test_a_preview_counts_a_damaged_picture_and_measures_the_others(inferencer, pictures, tmp_path):
    whole = (pictures / "3.png").read_bytes()
    (pictures / "3.png").write_bytes(whole[: len(whole) // 2])
    preview = inferencer.preview_paths([pictures], tmp_path / "out", "hazy")
    assert [planned.job.source.name for planned in preview.planned] == ["0.png", "1.png", "2.png"]
    assert [failure.path.name for failure in preview.failed] == ["3.png"]
    assert preview.seconds_per_megapixel > 0


def test_nothing_but_a_log_is_appended_to(inferencer, pictures, tmp_path):
    picture = pictures / "0.png"
    before = picture.read_bytes()
    with pytest.raises(ConfigError, match="is no log"):
        run(inferencer, pictures, tmp_path / "out", log=picture)
    assert picture.read_bytes() == before
    with pytest.raises(ConfigError, match="the log"):
        run(inferencer, pictures, tmp_path / "out", log=picture / "log.jsonl")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_unicode_is_restored_logged_and_shown(inferencer, pictures, tmp_path):
    os.rename(pictures / "0.png", os.fsencode(pictures) + b"/caf\xe9.png")
    log = tmp_path / "log.jsonl"
    report, done = run(inferencer, pictures, tmp_path / "out", log=log)
    assert len(report.restored) == 4
    assert b"caf\xe9.png" in os.listdir(os.fsencode(tmp_path / "out"))
    assert "caf\\udce9.png" in write_sheet(tmp_path / "sheet.html", done).read_text(encoding="utf-8")
    report, _ = run(inferencer, pictures, tmp_path / "out", log=log)
    assert (len(report.restored), len(report.skipped)) == (0, 4)
    assert len(lines(log)) == 4
