import importlib.util
import io
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from dtir.datasets.benchmarks import BENCHMARKS
from dtir.datasets.pairing import RULES
from dtir.imaging.files import write_picture
from dtir.imaging.picture import Picture

TOOLS = Path(__file__).parents[2] / "tools"


def load(path):
    spec = importlib.util.spec_from_file_location(Path(path).stem, TOOLS / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


@pytest.fixture(scope="module")
def prepare():
    return load("dataset_converters/prepare.py")


@pytest.fixture(scope="module")
def verify():
    return load("misc/verify_dataset.py")


@pytest.fixture
def source(tmp_path):
    for number, (side, level) in enumerate((("low", 0.1), ("high", 0.8)) * 15):
        pixels = np.random.default_rng(number).uniform(0, level, (12, 12, 3)).astype(np.float32)
        write_picture(tmp_path / "eval15" / side / f"{number // 2}.png", Picture(pixels), pixels)
    return tmp_path / "eval15"


def test_prepare_says_what_it_did_and_what_is_not_there(prepare, source, tmp_path, capsys):
    out = str(tmp_path / "data")
    assert prepare(["lol_v1", "--source", str(source), "--out", out]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        f"{out}/val/low-light: 15 pairs, from 'LOLdataset'",
        f"{out}/train/low-light: not in these sources",
    ]
    for side in ("low", "high"):
        (source / side / "3.png").unlink()
    assert prepare(["lol_v1", "--source", str(source), "--out", str(tmp_path / "fewer")]) == 0
    assert "14 pairs (expected 15; is the source complete?)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lol_v9"], "unknown benchmark 'lol_v9'. Did you mean 'lol_v1'?"),
        (["gopro"], "the sources hold no GoPro in a known layout"),
        (["lol_v1", "--names", "none.txt"], "the list of names 'none.txt' cannot be read"),
    ],
)
def test_errors_of_prepare_are_for_people(prepare, source, tmp_path, capsys, arguments, message):
    assert prepare([*arguments, "--source", str(source), "--out", str(tmp_path / "data")]) == 2
    assert message in capsys.readouterr().err


def test_verify_ends_with_1_if_there_are_problems(prepare, verify, source, tmp_path, capsys):
    out = tmp_path / "data"
    prepare(["lol_v1", "--source", str(source), "--out", str(out), "--copy"])
    assert verify([str(out), "--checksums"]) == 0
    printed = capsys.readouterr().out
    assert "no problems" in printed
    assert printed.count("│ val/low-light │ lol_v1    │    15 │       15 │       - │     ok │") == 1
    (out / "val/low-light/LQ/7.png").write_bytes(b"quota exceeded")
    assert verify([str(out)]) == 1
    assert "val/low-light: unreadable: '" in capsys.readouterr().out
    assert verify([str(out), "--benchmark", "lol_v1"]) == 1
    assert "train/low-light: count: this part is missing: prepare it" in capsys.readouterr().out


def test_the_table_of_verify_can_be_read_in_a_log_and_in_a_narrow_terminal(prepare, verify, tmp_path, capsys):
    for number, side in enumerate(("Low", "Normal")):
        pixels = np.random.default_rng(number).random((12, 12, 3), np.float32)
        write_picture(tmp_path / "LOL-v2/Synthetic/Test" / side / "1.png", Picture(pixels), pixels)
    out = tmp_path / "data"
    assert prepare(["lol_v2_synthetic", "--source", str(tmp_path / "LOL-v2"), "--out", str(out), "--copy"]) == 0
    (out / "generalization/LOL-v2-synthetic/LQ/1.png").write_bytes(b"")
    assert verify([str(out)]) == 1
    (row,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("│"))
    cells = [cell.strip() for cell in row.strip("│").split("│")]
    assert cells == ["generalization/LOL-v2-synthetic", "lol_v2_synthetic", "1", "100", "1", "-", "problems"]
    narrow = Console(width=70, file=io.StringIO())
    narrow.print(verify.__globals__["table"](verify.__globals__["verify"](out, BENCHMARKS)))
    first = next(line for line in narrow.file.getvalue().splitlines() if line.startswith("│"))
    assert [cell.strip() for cell in first.strip("│").split("│")][2:] == ["1", "100", "1", "-", "problems"]


def test_errors_of_verify_are_for_people(verify, tmp_path, capsys):
    assert verify([str(tmp_path / "none")]) == 2
    assert "give the folder that prepare.py wrote to" in capsys.readouterr().err


def test_every_benchmark_has_a_section_with_a_command_its_counts_where_it_is_and_its_licence():
    text = (TOOLS.parent / "docs" / "datasets.md").read_text(encoding="utf-8")
    sections = {section.split("\n")[0]: section for section in text.split("\n### ")[1:]}
    assert list(sections) == list(BENCHMARKS)
    for name, benchmark in BENCHMARKS.items():
        assert f"prepare.py {name} --source" in sections[name]
        assert f"(#{name})" in text
        prose = " ".join(sections[name].split())
        assert re.search(r"[Ww]here(: | and licence as there)", prose)
        assert re.search(r"[Ll]icence(: | as there)", prose)
        assert all(str(count) in sections[name] for part in benchmark.parts for count in part.counts)
    rules = text.split("| `pairing` |")[1].split("\n\n")[0]
    assert all(f"| `{rule}`" in rules and f"`{RULES[rule].example[1]}`" in rules for rule in RULES)
