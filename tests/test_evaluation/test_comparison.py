import csv
import json
import math
from dataclasses import replace

import pytest

from dtir.evaluation.measures import Measure
from dtir.evaluation.published import SETTING_A_DEHAZING, SETTING_B, published_table
from dtir.evaluation.records import PictureRecord
from dtir.evaluation.render import Grid, latex_table, markdown_table
from dtir.evaluation.render.latex import latex_text
from dtir.evaluation.reports import TestReport, write_test_report
from dtir.tasks import TASKS


def report(tasks, **values) -> TestReport:
    """Two pictures in the first task, one in the others."""
    values = {"PSNR": 20.0, "SSIM": 0.5, **values}
    records = [
        PictureRecord(task, f"p{k}", {label: v + place + k for label, v in values.items()})
        for place, task in enumerate(tasks)
        for k in range(2 if place == 0 else 1)
    ]
    measures = [
        Measure(label, digits=2, protocol="rgb", words="RGB")
        if label == "PSNR"
        else Measure(label, protocol="rgb", words="RGB, Gaussian")
        for label in values
    ]
    return TestReport("Net_1 & Co", "iter_9.pth", measures, records, tasks, on_published_sets=True)


def means_of(made: TestReport) -> dict[str, dict[str, float]]:
    return {row.name: dict(row.values) for row in made.table().rows}


def test_the_average_is_over_tasks_not_pictures():
    made = report(["hazy", "noisy"])
    assert means_of(made) == {
        "hazy": {"PSNR": 20.5, "SSIM": 1.0},
        "noisy": {"PSNR": 21.0, "SSIM": 1.5},
        "average": {"PSNR": 20.75, "SSIM": 1.25},
    }
    assert [row.pictures for row in made.table().rows] == [2, 1, 3]


def test_ten_tasks_stand_below_setting_b(tmp_path):
    write_test_report(tmp_path, report(TASKS, LPIPS=0.1))
    text = (tmp_path / "test.md").read_text()
    lines = text.splitlines()
    assert "| motion-blurry | 2 | 20.50 | 1.0000 | 0.6000 |" in lines
    assert "| average | 11 | 24.55 | 5.0500 | 4.6500 |" in lines
    assert "- PSNR: RGB." in lines
    assert "- SSIM, LPIPS: RGB, Gaussian." in lines
    heading = lines.index("## Setting B: average over ten tasks")
    table = [line for line in lines[heading:] if line.startswith("|")]
    assert table[0] == "| method | PSNR | SSIM | LPIPS |"
    assert table[3] == "| PromptIR | 27.14 | 0.859 | 0.148 |"
    assert len(table) == 2 + 9 + 1
    assert table[-1] == "| Net_1 & Co, this test | 24.55 | 5.0500 | 4.6500 |"
    assert "arXiv 2506.21722" in lines[-1]
    assert "compare with this test's only where its pictures and protocol are the same" in lines[-1]


def test_dehazing_stands_below_setting_a_and_other_tasks_alone(tmp_path):
    write_test_report(tmp_path, report(["hazy"]))
    text = (tmp_path / "test.md").read_text()
    assert "| DehazeFormer | 30.29 | 0.964 | 15.82 | 0.537 |" in text
    assert "| Net_1 & Co, this test | 20.50 | 1.0000 | - | - |" in text
    write_test_report(tmp_path, report(["hazy", "hazy@Other"]))
    assert "| Net_1 & Co, this test | 20.50 | 1.0000 | - | - |" in (tmp_path / "test.md").read_text()
    write_test_report(tmp_path, report(["noisy", "hazy"]))
    assert "arXiv" not in (tmp_path / "test.md").read_text() + (tmp_path / "test.tex").read_text()
    assert json.loads((tmp_path / "test.json").read_text())["published"] is None


def test_other_pictures_stand_beside_no_published_ones(tmp_path):
    write_test_report(tmp_path, replace(report(TASKS), on_published_sets=False))
    assert "arXiv" not in (tmp_path / "test.md").read_text()


def test_generalisation_sets_stand_beside_restoration(tmp_path):
    both = report(["hazy", "hazy@REVIDE"])
    assert means_of(both)["average"] == means_of(both)["hazy"]
    assert [row.pictures for row in both.table().rows] == [2, 1, 2]
    write_test_report(tmp_path, both)
    text = (tmp_path / "test.md").read_text()
    assert "| hazy@REVIDE | 1 | 21.00 | 1.5000 |" in text
    table = text.split("## Restoration and generalisation")[1].split("##")[0]
    header = "| task | generalisation set | restoration PSNR | restoration SSIM | generalisation PSNR |"
    assert header in table
    assert "| hazy | REVIDE | 20.50 | 1.0000 | 21.00 | 1.5000 |" in table
    assert "| Net_1 & Co, this test | 20.50 | 1.0000 | 21.00 | 1.5000 |" in text.split("## Setting A")[1]
    assert "hazy & REVIDE & 20.50 & 1.0000 & 21.00 & 1.5000" in (tmp_path / "test.tex").read_text()
    tasks = json.loads((tmp_path / "test.json").read_text())["tasks"]
    assert tasks["hazy@REVIDE"] == {"n": 1, "PSNR": 21.0, "SSIM": 1.5}


def test_sets_alone_are_averaged_and_several_of_a_task_have_a_row_each(tmp_path):
    several = report(["low-light@real", "low-light@synthetic"])
    assert means_of(several)["average"]["PSNR"] == pytest.approx((20.5 + 21) / 2)
    write_test_report(tmp_path, several)
    text = (tmp_path / "test.md").read_text()
    assert "| low-light | real | - | - | 20.50 | 1.0000 |" in text
    assert "| low-light | synthetic | - | - | 21.00 | 1.5000 |" in text


def test_published_tables_are_whole():
    for table in (SETTING_B, SETTING_A_DEHAZING):
        assert len(table.rows) == 9
        assert {len(values) for values in table.rows.values()} == {len(table.columns)} == {len(table.own_columns)}
    assert published_table(TASKS[::-1]) is SETTING_B
    assert published_table(["hazy"]) is SETTING_A_DEHAZING
    assert published_table(TASKS[:9]) is None
    # What the paper gains by its parts, from its text.
    gain = SETTING_B.rows["the paper's method"][0] - SETTING_B.rows["the paper's method w/o TIT"][0]
    assert gain == pytest.approx(1.12)


def test_csv_and_json_are_unrounded_and_name_their_protocol(tmp_path):
    write_test_report(tmp_path, report(["hazy"], SSIM=1 / 3))
    rows = list(csv.reader((tmp_path / "pictures.csv").open()))
    assert rows[0] == ["task", "picture", "PSNR [rgb]", "SSIM [rgb]"]
    assert rows[1] == ["hazy", "p0", "20.0", repr(1 / 3)]
    rows = list(csv.reader((tmp_path / "test.csv").open()))
    assert [row[:3] for row in rows[1:]] == [["hazy", "2", "20.5"], ["average", "2", "20.5"]]
    entries = json.loads((tmp_path / "test.json").read_text())
    assert entries["tasks"]["hazy"] == pytest.approx({"n": 2, "PSNR": 20.5, "SSIM": 1 / 3 + 0.5})
    assert entries["protocols"] == {"PSNR": "RGB", "SSIM": "RGB, Gaussian"}
    assert entries["published"]["rows"]["IR-SDE"]["generalisation SSIM"] == 0.624
    pictures = json.loads((tmp_path / "pictures.json").read_text())["pictures"]
    assert pictures[1] == {"task": "hazy", "picture": "p1", "PSNR": 21.0, "SSIM": 1 / 3 + 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "pictures.csv",
        "pictures.json",
        "test.csv",
        "test.json",
        "test.md",
        "test.tex",
    ]


def test_infinity_is_null_in_json(tmp_path):
    write_test_report(tmp_path, report(["noisy"], PSNR=math.inf))
    assert json.loads((tmp_path / "test.json").read_text())["average"]["PSNR"] is None
    assert "| noisy | 2 | inf |" in (tmp_path / "test.md").read_text()


def test_latex_is_escaped(tmp_path):
    write_test_report(tmp_path, report(["hazy"]))
    text = (tmp_path / "test.tex").read_text()
    assert r"Net\_1 \& Co, this test & 20.50 & 1.0000 & - & - \\" in text
    assert text.count(r"\begin{tabular}{lrrr}") == 1
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 2
    assert (
        latex_text("50% of a_b^2 \\ {x}~") == r"50\% of a\_b\textasciicircum{}2 \textbackslash{} \{x\}\textasciitilde{}"
    )
    assert latex_table(Grid(["a", "b"], [["1", "2"], ["3", "4"]], "c", last_apart=True)).splitlines()[4:10] == [
        r"\toprule",
        r"a & b \\",
        r"\midrule",
        r"1 & 2 \\",
        r"\midrule",
        r"3 & 4 \\",
    ]
    assert markdown_table(Grid(["a|b"], [["c"]])) == "| a\\|b |\n|---|\n| c |"
