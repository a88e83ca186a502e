import json
import math
import os

import pytest

from dtir.evaluation.records import PictureRecord, RecordFolder, settings_key, stamp_of


def test_records_come_back_as_they_were(tmp_path):
    records = [
        PictureRecord("noisy", "a/1", {"PSNR": 0.1 + 0.2, "SSIM": 1 / 3}, "stamp"),
        PictureRecord("hazy", "ä", {"PSNR": math.inf}),
    ]
    folder = RecordFolder(tmp_path / "records")
    assert folder.read() == []
    for rank, record in enumerate(records):
        folder.append(record, rank)
    assert folder.read() == records


def test_a_torn_line_costs_one_record(tmp_path):
    first, second, third = (PictureRecord("noisy", name, {"PSNR": 20.5}) for name in "abc")
    folder = RecordFolder(tmp_path)
    for record in (first, second):
        folder.append(record)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    length = len(json.dumps({"task": "noisy", "name": "b", "values": {"PSNR": 20.5}, "stamp": ""}))
    for cut in range(1, length + 1):
        path.write_bytes(whole[:-cut])
        folder.append(third)
        assert folder.read() == [first, third]


def test_stamp_changes_with_the_files(tmp_path):
    paths = {key: str(tmp_path / key) for key in ("lq_path", "gt_path")}
    for path in paths.values():
        with open(path, "w") as file:
            file.write("picture")
    before = stamp_of({**paths, "name": "a"})
    assert stamp_of(paths) == before
    os.utime(paths["gt_path"], ns=(1, 1))
    assert stamp_of(paths) != before
    assert stamp_of({"name": "a"}) == ""
    assert stamp_of({"lq_path": "key/1", "gt_path": "key/2"}) == "key/1|key/2"


def test_key_tells_checkpoints_and_settings_apart(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"weights")
    (tmp_path / "copy.pth").write_bytes(b"weights")
    (tmp_path / "b.pth").write_bytes(b"weightz")
    settings = {"model": {"width": 8}, "evaluator": [{"type": "PSNR"}]}
    key = settings_key(tmp_path / "a.pth", settings)
    assert key == settings_key(tmp_path / "copy.pth", dict(reversed(settings.items())))
    others = {settings_key(tmp_path / "b.pth", settings), settings_key(None, settings)}
    others.add(settings_key(tmp_path / "a.pth", {**settings, "evaluator": [{"type": "PSNR", "protocol": "y"}]}))
    assert len(others | {key}) == 4


@pytest.mark.parametrize("line", ["[1, 2", "{", ""])
def test_foreign_lines_are_not_records(tmp_path, line):
    (tmp_path / "process_0.jsonl").write_text(line)
    assert RecordFolder(tmp_path).read() == []
