"""What is said of a comparison that is not fair: each case by itself, and silence where there is nothing to say."""

import json

import pytest

from dtir.evaluation.measures import Measure
from dtir.evaluation.reports import write_results
from dtir.evaluation.reports.methods.cautions import cautions
from dtir.evaluation.reports.methods.reading import read_methods
from dtir.evaluation.results import ResultRow, ResultTable, average_row

CONFIG = "model = dict(tasks=['noisy'], width={width})\nrandomness = dict(seed={seed})\nwork_dir = '{folder}'\n"


def work_folder(folder, seed=0, width=8, protocol="rgb", pictures=6, task="noisy", psnr=20.0, tested=True):
    """A work folder in which every picture has this PSNR."""
    report = folder / "report"
    report.mkdir(parents=True)
    row = ResultRow(task, {"PSNR": psnr}, None, pictures)
    measure = Measure("PSNR", higher_is_better=True, digits=2, unit="dB", protocol=protocol)
    write_results(report, ResultTable("t", [measure], [row, average_row([row])]))
    facts = {"seed": seed, "config_text": CONFIG.format(width=width, seed=seed, folder=folder)}
    (report / "run.json").write_text(json.dumps(facts))
    if tested:
        values = [{"task": task, "picture": f"p{n}", "PSNR": psnr} for n in range(pictures)]
        (report / "pictures.json").write_text(json.dumps({"pictures": values}))
    return folder


def said(tmp_path, **other):
    """The cautions of a method of two seeds, the second of which is made with these arguments, and of another one."""
    folders = [work_folder(tmp_path / "ours_seed0"), work_folder(tmp_path / "ours_seed1", **{"seed": 1, **other})]
    folders.append(work_folder(tmp_path / "plain_seed0", psnr=19.0))
    return cautions(read_methods([("", folder) for folder in folders], seeds=True))


def test_a_fair_comparison_has_none(tmp_path):
    assert said(tmp_path) == []


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"protocol": "y"}, "measured by different protocols (rgb, y)"),
        ({"task": "hazy"}, "were not measured on the same tasks (hazy, noisy)"),
        ({"pictures": 7}, "were not measured on the same pictures of noisy"),
        ({"width": 16}, "Seeds of 'ours' differ in more than their seed: model.width ("),
        ({"seed": 0}, "Runs of 'ours' have the same seed (0)"),
        ({"tested": False}, "Without report/pictures.json, which a test writes (dtir test): "),
    ],
)
def test_each_is_named(tmp_path, other, words):
    texts = said(tmp_path, **other)
    assert len(texts) == 1
    assert words in texts[0]
    assert "ours_seed1" in texts[0] or "protocols" in words or "same seed" in words


def test_pictures_of_an_untested_run_are_counted(tmp_path):
    texts = said(tmp_path, tested=False, pictures=7)
    assert any("were not measured on the same pictures of noisy" in text for text in texts)


def test_a_later_validation_is_told_from_the_test(tmp_path):
    one, other = work_folder(tmp_path / "one"), work_folder(tmp_path / "other", psnr=19.0)
    values = json.loads((other / "report" / "pictures.json").read_text())
    values["pictures"][0]["PSNR"] = 25.0
    (other / "report" / "pictures.json").write_text(json.dumps(values))
    texts = cautions(read_methods([("", one), ("", other)]))
    assert len(texts) == 1
    assert "other': the values of the pictures are not those that its table is of" in texts[0]


def test_few_pictures_are_said_to_be_few(tmp_path):
    folders = [work_folder(tmp_path / name, pictures=5) for name in ("one", "other")]
    texts = cautions(read_methods([("", folder) for folder in folders]))
    assert texts == [
        "Differences over 5 pictures: with fewer than 6 the interval is too narrow, and p cannot be below 0.05."
    ]


def test_a_config_that_is_no_list_of_settings_is_compared_as_a_whole(tmp_path):
    folders = [work_folder(tmp_path / name, seed=n) for n, name in enumerate(("a_seed0", "a_seed1", "b"))]
    path = folders[1] / "report" / "run.json"
    path.write_text(json.dumps({"seed": 1, "config_text": "model = <function f>"}))
    texts = cautions(read_methods([("", folder) for folder in folders], seeds=True))
    assert ["the config" in text for text in texts] == [True]
