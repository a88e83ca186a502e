"""Results as data, drawn for the terminal and as files."""

import csv
import io
import json
import math

import pytest
from mmengine.evaluator import BaseMetric
from rich.console import Console

from dtir.core.errors import ConfigError
from dtir.evaluation import MAE, PSNR, SSIM, InputPSNR, PictureMetric
from dtir.evaluation.render import terminal_table
from dtir.evaluation.reports import read_results, result_grid, write_results
from dtir.evaluation.results import ResultTable, result_table

VALUES = {
    "noisy/PSNR_LQ": 14.0,
    "noisy/PSNR": 26.0,
    "noisy/SSIM": 0.8,
    "hazy/PSNR_LQ": 12.0,
    "hazy/PSNR": 18.0,
    "hazy/SSIM": 0.9,
    "average/PSNR": 22.0,
}
METRICS = (InputPSNR, PSNR, SSIM)


class Sharpness(PictureMetric):
    """A metric of somebody's own."""

    name = "Sharpness"
    higher_is_better = False
    digits = 1
    unit = "px"

    def measure(self, picture, gt):
        raise NotImplementedError


class Foreign(BaseMetric):
    """A metric that knows nothing of dtir."""

    def process(self, data_batch, data_samples):
        raise NotImplementedError

    def compute_metrics(self, results):
        raise NotImplementedError


def table_of(values=VALUES, tasks=("noisy", "hazy", "rainy"), steps=(6, -1, 3), metrics=METRICS, counts=None):
    made = [metric() if isinstance(metric, type) else metric for metric in metrics]
    if counts:
        made[0].counts = counts
    return result_table("10 tasks, protocol 'rgb'", made, values, tasks[: len(steps)], steps)


def cells(table: ResultTable) -> list[list[str]]:
    return [list(row) for row in result_grid(table).rows]


def test_rows_have_gains_and_an_average():
    table = table_of()

    assert result_grid(table).header == ["task", "matched t", "pictures", "input PSNR", "PSNR", "gain", "SSIM"]
    assert cells(table) == [
        ["noisy", "6", "-", "14.00", "26.00", "+12.00", "0.8000"],
        ["hazy", "-", "-", "12.00", "18.00", "+6.00", "0.9000"],
        ["average", "-", "-", "13.00", "22.00", "+9.00", "0.8500"],
    ]
    console = Console(width=100, file=io.StringIO())
    console.print(terminal_table(result_grid(table)))
    assert "protocol 'rgb'" in console.file.getvalue()
    assert "+12.00" in console.file.getvalue()


def test_a_metric_of_ones_own_has_its_column_with_its_digits(tmp_path):
    values = {**VALUES, "noisy/Sharpness": 3.25, "hazy/Sharpness": 1.0}
    table = table_of(values, metrics=(*METRICS, Sharpness))
    write_results(tmp_path, table)

    assert [row[-1] for row in cells(table)] == ["3.2", "1.0", "2.1"]
    assert "| Sharpness |" in (tmp_path / "results.md").read_text()
    assert json.loads((tmp_path / "results.json").read_text())["average"]["sharpness"] == pytest.approx(2.125)
    measure = table.measure("Sharpness")
    assert (measure.higher_is_better, measure.with_unit()) == (False, "Sharpness in px")


def test_of_a_foreign_metric_the_label_is_known():
    values = {**VALUES, "noisy/blockiness": 0.5, "hazy/blockiness": 0.25}
    table = table_of(values, metrics=(*METRICS, Foreign))

    assert result_grid(table).header[-1] == "blockiness"
    assert cells(table)[-1][-1] == "0.3750"
    assert table.measure("blockiness").higher_is_better is None


def test_two_metrics_of_one_name_are_told_apart_by_their_prefix():
    values = {**VALUES, "luma/noisy/PSNR": 28.0, "luma/hazy/PSNR": 19.0}
    table = table_of(values, metrics=(*METRICS, PSNR(protocol="y", prefix="luma")))

    assert result_grid(table).header[-1] == "luma/PSNR"
    assert [row[-1] for row in cells(table)] == ["28.00", "19.00", "23.50"]
    assert (table.value("noisy", "PSNR"), table.value("noisy", "luma/PSNR")) == (26.0, 28.0)


def test_what_was_not_measured_is_a_dash_and_nothing_is_an_error():
    assert cells(table_of({"noisy/PSNR": 26.0}, ["noisy"], [6])) == [
        ["noisy", "6", "-", "-", "26.00", "-", "-"],
        ["average", "-", "-", "-", "26.00", "-", "-"],
    ]
    with pytest.raises(ConfigError, match=r"no value of any of the tasks noisy: put dict\(type='PSNR'\)"):
        table_of({}, ["noisy"], [6])


def test_without_the_input_there_is_no_gain():
    values = {"noisy/PSNR": 26.0, "noisy/MAE": 0.1}
    assert result_grid(table_of(values, metrics=(PSNR, MAE))).header[3:] == ["PSNR", "MAE"]


def test_generalisation_sets_follow_their_task_and_are_excluded_from_the_average():
    values = {"hazy@REVIDE/PSNR": 10.0, "hazy/PSNR": 30.0, "noisy/PSNR": 20.0}
    table = table_of(values, ["noisy", "hazy"], [6, 2], [PSNR], {"hazy@REVIDE": 9, "hazy": 2, "noisy": 1})

    assert [row.name for row in table.rows] == ["noisy", "hazy", "hazy@REVIDE", "average"]
    assert (table.value("average", "PSNR"), table.rows[-1].pictures) == (25.0, 3)
    assert table.rows[2].matched_t == 2


def test_files_hold_the_rows_and_are_read_back(tmp_path):
    table = table_of(VALUES, ["noisy", "hazy"], [6, -1], counts={"noisy": 4, "hazy": 2})
    write_results(tmp_path, table)
    text = (tmp_path / "results.json").read_text()
    written = json.loads(text)

    assert written["protocol"] == "rgb"
    assert written["tasks"]["hazy"] == {
        "matched_t": None,
        "n": 2,
        "psnr_in": 12.0,
        "psnr": 18.0,
        "ssim": 0.9,
        "gain": 6.0,
    }
    assert written["average"] == pytest.approx(
        {"matched_t": None, "n": 6, "psnr_in": 13.0, "psnr": 22.0, "ssim": 0.85, "gain": 9.0}
    )
    assert read_results(text) == table
    assert list(csv.reader((tmp_path / "results.csv").open()))[1:] == cells(table)
    markdown = (tmp_path / "results.md").read_text()
    assert "| noisy | 6 | 4 | 14.00 | 26.00 | +12.00 | 0.8000 |" in markdown
    assert "- input PSNR, PSNR: protocol 'rgb'" in markdown


def test_infinity_is_null_in_json(tmp_path):
    write_results(tmp_path, table_of({**VALUES, "noisy/PSNR": math.inf}, ["noisy"], [6]))

    assert json.loads((tmp_path / "results.json").read_text())["tasks"]["noisy"]["psnr"] is None


def test_results_of_older_versions_are_read():
    row = {"matched_t": 6, "psnr_in": 14.0, "psnr": 26.0, "ssim": 0.8, "n": 1, "gain": 12.0}
    table = read_results(json.dumps({"protocol": "rgb", "tasks": {"noisy": row}, "average": {**row, "lpips": 0.1}}))

    assert cells(table)[0] == ["noisy", "6", "1", "14.00", "26.00", "+12.00", "0.8000", "-"]
    assert table.value("average", "LPIPS") == 0.1
