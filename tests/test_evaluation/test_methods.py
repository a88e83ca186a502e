"""Methods side by side: seeds, differences, costs, pictures, and the files of a comparison."""

import csv
import json

import cv2
import numpy as np
import pytest

from dtir import cli
from dtir.core.errors import ConfigError, DtirError
from dtir.evaluation.measures import Measure
from dtir.evaluation.metrics import LPIPS
from dtir.evaluation.reports import write_results
from dtir.evaluation.reports.methods.page import comparison_tables
from dtir.evaluation.reports.methods.pictures import PART, most_different, write_pictures
from dtir.evaluation.reports.methods.reading import differences, read_methods
from dtir.evaluation.results import ResultRow, ResultTable, average_row

TASKS = ("hazy", "noisy", "rainy")
MEASURES = [
    Measure("PSNR", higher_is_better=True, digits=2, unit="dB", protocol="rgb"),
    Measure("LPIPS", higher_is_better=LPIPS.higher_is_better, protocol="rgb"),
]


def save(folder, name: str, grey: int, spot: int = 0) -> None:
    picture = np.full((160, 160, 3), grey, np.uint8)
    picture[100:140, 20:60] += np.uint8(spot)
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / name), picture)


def work_folder(folder, psnr: float, tested: bool = True, spot: int = 0):
    """A work folder in which every picture of every task has a PSNR about this one."""
    report = folder / "report"
    rows = [ResultRow(task, {"PSNR": psnr + k, "LPIPS": 0.2}, 3, 2) for k, task in enumerate(TASKS)]
    report.mkdir(parents=True)
    write_results(report, ResultTable("t", MEASURES, [*rows, average_row(rows)]))
    files = {"lq": "0_lq.png", "restored": "0_restored.png", "gt": "0_gt.png"}
    for grey, file in zip((40, 90, 120), files.values(), strict=True):
        save(report / "pictures", file, grey, spot if "restored" in file else 0)
    kept = [{"task": "hazy", "name": "p0", "psnr_lq": 1.0, "psnr": 2.0, "files": files}]
    (report / "pictures" / "pictures.json").write_text(json.dumps(kept))
    log = folder / "now" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True)
    log.write_text("\n".join(json.dumps({"step": s, "average/PSNR": psnr - 10 / s}) for s in (5, 10)))
    if tested:
        pictures = [
            {"task": task, "picture": f"p{n}", "PSNR": psnr + k + n - 0.5, "LPIPS": 0.2}
            for k, task in enumerate(TASKS)
            for n in range(2)
        ]
        (report / "pictures.json").write_text(json.dumps({"pictures": pictures}))
        cost = {"parameters": 2_000_000, "macs": 3e9, "seconds_per_megapixel": psnr, "peak_bytes": 2**30}
        (report / "cost.json").write_text(json.dumps({**cost, "device": "CPU", "threads": 2}))
    return folder


@pytest.fixture
def folders(tmp_path):
    return [
        work_folder(tmp_path / "plain_seed0", 20.0),
        work_folder(tmp_path / "plain_seed1", 22.0),
        work_folder(tmp_path / "ours_seed0", 23.0, spot=60),
    ]


def methods_of(folders):
    return read_methods([("", folder) for folder in folders], seeds=True)


def test_seeds_of_one_method_are_averaged(folders):
    plain, ours = methods_of(folders)
    assert (plain.name, len(plain.runs), ours.name, len(ours.runs)) == ("plain", 2, "ours", 1)
    averages, psnr, lpips, against, costs = comparison_tables([plain, ours])
    assert averages.rows == [["plain", "2", "22.00 ± 1.41", "0.2000 ± 0.0000"], ["ours", "1", "24.00", "0.2000"]]
    assert psnr.rows[1] == ["noisy", "22.00 ± 1.41", "24.00"]
    assert "protocol 'rgb'" in psnr.caption
    assert lpips.header == ["task", "plain", "ours"]
    assert against.rows[0][:3] == ["ours", "PSNR", "+2.00"]
    # Six pictures, all better: 2 of 2^6 signs are as extreme.
    assert float(against.rows[0][-2]) == pytest.approx(2 / 64, abs=1e-3)
    assert against.rows[0][-1] == "6"
    assert costs.rows[0] == ["plain", "2", "3", "21", "1.02e+03", "CPU, 2 threads"]


def test_names_group_runs_and_one_method_is_refused(folders):
    plain, other = read_methods([("a", folders[0]), ("b", folders[1])])
    assert (plain.name, other.name) == ("a", "b")
    with pytest.raises(ConfigError, match="there is one method only, 'a'"):
        read_methods([("a", folders[0]), ("a", folders[1])])
    with pytest.raises(ConfigError, match="plain_seed0' is given twice"):
        read_methods([("a", folders[0]), ("b", folders[0])])
    (folders[0] / "report" / "results.json").unlink()
    with pytest.raises(DtirError, match=r"plain_seed0' has no report/results.json: test it"):
        methods_of(folders)


def test_what_is_a_seed_and_what_belongs_to_the_name(tmp_path):
    names = ["tasks10", "tasks20", "a-s3", "a-s4", "b/seed0", "b/seed1"]
    methods = methods_of([work_folder(tmp_path / name, 20.0) for name in names])
    assert [(method.name, len(method.runs)) for method in methods] == [
        ("tasks10", 1),
        ("tasks20", 1),
        ("a", 2),
        ("b", 2),
    ]


def test_two_folders_of_one_name_are_no_seeds_unless_they_are_said_to_be(tmp_path):
    one, other = (work_folder(tmp_path / name / "run", 20.0) for name in ("one", "other"))
    with pytest.raises(ConfigError, match=r"other/run' and '.*one/run' are both called 'run': give them names"):
        read_methods([("", one), ("", other)])


def test_a_folder_may_have_the_mark_of_names_in_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folders = [work_folder(tmp_path / name, 20.0) for name in ("lr=0.1", "lr=0.2")]
    assert cli.main(["compare", *(folder.name for folder in folders)]) == 0
    assert "| lr=0.1 | 1 |" in (tmp_path / "comparison" / "compare.md").read_text()


def test_the_best_are_bold(folders):
    averages, psnr, lpips, *_ = comparison_tables(methods_of(folders))
    assert averages.best == {(1, 2)}
    assert psnr.best == {(row, 2) for row in range(4)}
    # All alike.
    assert lpips.best == set()


def test_a_picture_without_a_finite_value_is_left_out_of_its_differences_alone(folders):
    for folder in folders[:2]:
        path = folder / "report" / "pictures.json"
        content = json.loads(path.read_text())
        content["pictures"][0]["PSNR"] = None
        path.write_text(json.dumps(content))
    psnr, lpips = differences(methods_of(folders))
    assert (psnr.pictures, lpips.pictures) == (5, 6)


def test_without_tests_there_are_no_differences_and_the_page_says_so(tmp_path):
    folders = [work_folder(tmp_path / name, 20.0, tested=False) for name in ("a", "b")]
    assert differences(methods_of(folders)) == []
    assert cli.main(["compare", *map(str, folders), "--out", str(tmp_path / "out")]) == 0
    assert "Without report/pictures.json, which a test writes" in (tmp_path / "out" / "compare.html").read_text()


def test_the_files_of_a_comparison(folders, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["--seeds", "--out", str(out), "--figures", "svg", "pdf"]
    assert cli.main(["compare", *map(str, folders), *words]) == 0
    assert "22.00 ± 1.41" in capsys.readouterr().out
    names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*.*"))
    figures = [f"figures/{name}.{end}" for name in ("curves", "radar_lpips", "radar_psnr") for end in ("pdf", "svg")]
    files = ["compare.csv", "compare.html", "compare.md", "compare.tex", "pictures.csv"]
    assert names == sorted([*figures, *files, "pictures/hazy_000.png"])
    assert (out / "figures" / "curves.pdf").read_bytes().startswith(b"%PDF")
    page = (out / "compare.html").read_text()
    assert page.count("<svg") >= 3
    assert page.count("data:image/png") == 1
    assert r"plain & 2 & 22.00 $\pm$ 1.41 & 0.2000 $\pm$ 0.0000 \\" in (out / "compare.tex").read_text()
    rows = list(csv.DictReader((out / "pictures.csv").open()))
    assert float(rows[0]["plain PSNR"]) == pytest.approx(20.5)
    values = list(csv.DictReader((out / "compare.csv").open()))
    assert len(values) == 3 * 4 * 2


def test_a_sheet_shows_lq_the_methods_and_gt_in_their_colours(folders, tmp_path):
    colours = {"lq": (250, 0, 0), "plain": (0, 250, 0), "ours": (250, 250, 0), "gt": (0, 0, 250)}
    for method, folder in (("plain", folders[0]), ("ours", folders[2])):
        for kind in ("lq", "restored", "gt"):
            rgb = colours.get(kind, colours[method])
            picture = np.full((160, 160, 3), rgb[::-1], np.uint8)
            cv2.imwrite(str(folder / "report" / "pictures" / f"0_{kind}.png"), picture)
    (path,) = write_pictures(tmp_path / "sheets", methods_of(folders))
    # Two rows: the pictures with a frame around the part below, and that part.
    sheet = cv2.imread(str(path))[26 + 160 :: 26 + 320 + 6, 160 :: 320 + 6, ::-1]
    assert [[tuple(pixel) for pixel in row] for row in sheet.tolist()] == [list(colours.values())] * 2


def test_the_enlarged_part_is_where_methods_differ(folders):
    size = (160, 160, 3)
    flat, spotted = np.full(size, 90, np.uint8), np.full(size, 90, np.uint8)
    spotted[100:140, 20:60] = 150
    top, left = most_different([flat, spotted])
    assert top <= 100
    assert top + PART >= 140
    assert left <= 20
    assert left + PART >= 60
    assert most_different([flat[:40, :50], flat[:40, :50]]) == (0, 0)
