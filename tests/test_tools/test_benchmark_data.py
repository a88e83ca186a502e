"""tools/analysis/benchmark_data.py: what it measures, on pairs of a few pixels."""

import re
import shutil

import numpy as np
import pytest
import torch

from dtir.cli.launching import load_config
from dtir.imaging.files import write_picture
from dtir.imaging.picture import Picture
from tools.analysis import benchmark_data

CONFIG = """
_members = [dict(type="PairedDataset", task=task, data_root="{root}", patch=8, cache_mb=0.01) for task in ("a", "b")]
train_dataloader = dict(batch_size=2, dataset=dict(type="MultiTaskDataset", datasets=_members))
"""
FOREIGN = """
_step = dict(type="PackPair")
_members = [dict(type="PairedDataset", task="a", data_root="{root}", pipeline=[_step])]
train_dataloader = dict(batch_size=2, dataset=dict(type="MultiTaskDataset", datasets=_members))
"""


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def root(tmp_path):
    for number in range(3):
        for folder in ("LQ", "GT"):
            picture = np.random.default_rng(number).random((64, 128, 3), np.float32)
            write_picture(tmp_path / "pairs" / folder / f"{number}.png", Picture(picture), picture)
    return tmp_path / "pairs"


@pytest.fixture
def config(root, tmp_path):
    path = tmp_path / "config.py"
    path.write_text(CONFIG.format(root=root))
    return path


def cells(out: str, row: str) -> list[str]:
    line = next(line for line in out.splitlines() if row in line)
    return [cell.strip() for cell in line.split("│")[2:-1]]


def test_the_table_has_every_way_and_transform(config, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    words = ["--workers", "1", "--patches", "4", "--rounds", "1"]
    assert benchmark_data.main([str(config), *words]) == 0
    out = capsys.readouterr().out
    header = next(line for line in out.splitlines() if "packed" in line)
    assert re.findall(r"decoded each time|cached|packed", header) == ["decoded each time", "cached", "packed"]
    for row in ("patches/s of one core", "ms per patch", "patches/s of 1 workers"):
        assert all(float(cell) > 0 for cell in cells(out, row))
    for row in ("LoadPair", "RandomCropPair", "RandomFlipRotate", "PackPair", "other"):
        assert all(re.fullmatch(r"\d+\.\d\d \( *\d+ %\)", cell) for cell in cells(out, row))
    speed, of_the_aim = (float(cells(out, row)[0]) for row in ("patches/s of one core", "of the aim"))
    assert of_the_aim == pytest.approx(speed / 100, abs=0.011)


def test_the_size_of_the_set_is_stated(config, capsys):
    assert benchmark_data.main([str(config), "--patches", "2", "--rounds", "1"]) == 0
    # Two tasks share six pictures of 24 KiB.
    out = " ".join(capsys.readouterr().out.split())
    assert "training set is 6 pictures, about 0 MiB decoded" in out
    assert f"cache_mb=0.01, one in each worker, holds at most {100 * 0.01 / (6 * 24 / 1024):.0f} % of it" in out
    assert "Aim: 100 patches/s of one core" in out


def test_the_parts_make_up_the_whole(config):
    dataset = benchmark_data.build_dataset(load_config(config))
    draws = benchmark_data.choose_draws(dataset, 6, 6)
    parts = benchmark_data.time_parts({"files": dataset}, draws, rounds=1)["files"]
    whole = parts.pop(benchmark_data.WHOLE)
    assert list(parts) == ["LoadPair", "RandomCropPair", "RandomFlipRotate", "PackPair", "other"]
    assert sum(parts.values()) == pytest.approx(whole)
    assert min(parts.values()) > 0


def test_medians_are_taken_by_part():
    rounds = [{"a": 1.0, "b": 5.0}, {"a": 9.0, "b": 4.0}, {"a": 2.0, "b": 6.0}]
    assert benchmark_data.median_parts(rounds, 10) == {"a": 20, "b": 50}


def test_tasks_take_turns_over_a_limited_number_of_pictures(config):
    dataset = benchmark_data.build_dataset(load_config(config))
    draws = benchmark_data.choose_draws(dataset, 8, 4)
    assert [key.task for key in draws] == [0, 1] * 4
    assert [key.index for key in draws] == [0, 0, 1, 1, 0, 0, 1, 1]
    assert {key.index for key in benchmark_data.choose_draws(dataset, 8, 100)} == {0, 1, 2}
    assert [key.task for key in benchmark_data.choose_draws(dataset, 1, 1)] == [0, 1]


def test_each_way_reads_where_it_says(config, root, tmp_path):
    files, cached, packed = (benchmark_data.build_dataset(load_config(config)) for _ in range(3))
    draws = benchmark_data.choose_draws(files, 4, 4)
    benchmark_data.use_files(files, 0)
    benchmark_data.use_files(cached, 8)
    benchmark_data.use_pack(packed, draws, tmp_path)
    expected = [files[key]["inputs"] for key in draws]
    assert all(torch.equal(cached[key]["inputs"], item) for key, item in zip(draws, expected, strict=True))
    shutil.rmtree(root)
    assert all(torch.equal(packed[key]["inputs"], item) for key, item in zip(draws, expected, strict=True))
    with pytest.raises(Exception, match="No such file"):
        files[draws[0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("work_dir = 'x'", "train_dataloader missing"),
        (FOREIGN, "neither LoadPair nor LoadClean"),
    ],
)
def test_a_config_that_cannot_be_measured_is_named(config, root, capsys, text, message):
    config.write_text(text.replace("{root}", str(root)))
    assert benchmark_data.main([str(config)]) == 1
    err = capsys.readouterr().err
    assert "config.py" in err
    assert message in err
