"""Setting B, small, on real pictures: from DA-CLIP's tree to the tables, by the commands of docs/training.md."""

import csv
import io
import json
import runpy
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest

from dtir.cli import main
from dtir.tasks import TASKS

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "dtir" / "x_restormer_10task.py"
BENCHMARKS = [
    "gopro",
    "reside_6k",
    "jpeg_div2k_flickr2k",
    "live1",
    "lol_v1",
    "noise_div2k_flickr2k",
    "cbsd68",
    "raindrop",
    "rain100h",
    "srd",
    "snow100k_l",
    "celebahq_inpainting",
]
# A network, stages and estimates of seconds; all else is as published.
SMALL = [
    "model.network.backbone.dim=8",
    "model.network.backbone.num_blocks=[1,1,1,1]",
    "model.network.backbone.num_refinement_blocks=1",
    "model.network.backbone.window_size=4",
    "model.scheduler.num_timesteps=4",
    "train_cfg.stages.0.iters=2",
    "train_cfg.stages.1.iters=1",
    "train_cfg.stages.2.iters=1",
    "train_cfg.stages.2.validate=False",
    "train_cfg.regularizers.0.num_samples=2",
    "custom_hooks.1.num_images=1",
    "train_dataloader.num_workers=0",
    "val_dataloader.num_workers=0",
    "test_dataloader.num_workers=0",
    *(f"train_dataloader.dataset.datasets.{place}.patch=16" for place in range(len(TASKS))),
]


class Finished(NamedTuple):
    """A tool's exit code and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def run(folder: Path, *words: str) -> Finished:
    """Runs a tool of the repository in `folder`, as from the command line but for the start of a process."""
    path = ROOT / "tools" / words[0]
    out, error = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(error):
        patch.chdir(folder)
        patch.delenv("DTIR_DATA", raising=False)
        patch.setenv("COLUMNS", "200")
        patch.setattr(sys, "argv", [str(path), *words[1:]])
        patch.setattr(sys, "path", [str(path.parent), *sys.path])
        with pytest.raises(SystemExit) as ended:
            runpy.run_path(str(path), run_name="__main__")
    return Finished(ended.value.code or 0, out.getvalue(), error.getvalue())


def crops(path: Path) -> dict[str, np.ndarray]:
    """Two parts of a picture that do not overlap: one to train on, one to test on."""
    picture = cv2.imread(str(path))
    return {"train": picture[:64, :64], "val": picture[-48:, -40:]}


@pytest.fixture(scope="module")
def published(data_dir, without_data, tmp_path_factory) -> Path:
    """DA-CLIP's tree, as it is unpacked: a pair of every task, with inpainting under its name there."""
    if not (data_dir / "real10").is_dir():
        without_data(f"the real pairs are not in {data_dir / 'real10'}; set DTIR_DATA to the folder above")
    root = tmp_path_factory.mktemp("published")
    for task in TASKS:
        name = sorted((data_dir / "real10" / task / "LQ").iterdir())[0].name
        for side in ("LQ", "GT"):
            for split, pixels in crops(data_dir / "real10" / task / side / name).items():
                folder = root / "universal" / split / task.replace("inpainting", "uncompleted") / side
                folder.mkdir(parents=True)
                assert cv2.imwrite(str(folder / f"{split}_{name}"), pixels)
    return root / "universal"


@pytest.fixture(scope="module")
def prepared(published, tmp_path_factory) -> Path:
    """A workplace with `data`."""
    place = tmp_path_factory.mktemp("workplace")
    words = ["--source", str(published), "--out", str(place / "data"), "--workers", "1"]
    for name in BENCHMARKS:
        result = run(place, "dataset_converters/prepare.py", name, *words)
        assert result.returncode == 0, result.stderr
        if name == "gopro":
            expected = "1 pairs (expected 2103; is the source complete?), from 'DA-CLIP's tree, train/motion-blurry'"
            assert expected in result.stdout
    return place


def test_all_ten_tasks_are_prepared_and_only_few(prepared):
    folders = {path.parent.relative_to(prepared / "data").as_posix() for path in prepared.rglob("manifest.json")}
    assert folders == {f"{split}/{task}" for split in ("train", "val") for task in TASKS}
    result = run(prepared, "misc/verify_dataset.py", "data", "--checksums", "--workers", "1")
    findings = [line for line in result.stdout.splitlines() if line.startswith(("train/", "val/"))]
    problems = [line for line in findings if ": notice: " not in line]
    # All that is wrong with a pair of each is that there should be thousands.
    assert len(problems) == 20
    assert all(": count: 1 pairs, expected " in line for line in problems)
    assert result.returncode == 1


@pytest.fixture(scope="module")
def trained(prepared) -> Path:
    result = run(prepared, "train.py", str(CONFIG), "--work-dir", "run", "--cfg-options", *SMALL)
    assert result.returncode == 0, result.stderr[-3000:]
    return prepared / "run"


def test_the_training_goes_through_all_stages(trained):
    assert (trained / "last_checkpoint").read_text().strip() == "iter_13.pth"
    curves = json.loads((trained / "matching" / "curves.json").read_text())
    assert "uncompleted" not in json.dumps(curves)
    results = json.loads((trained / "report" / "results.json").read_text())
    assert list(results["tasks"]) == list(TASKS)
    assert {row["n"] for row in results["tasks"].values()} == {1}


def test_the_report_shows_all_tasks_and_that_few_pictures_do_not_compare(trained):
    assert main(["report", str(trained)]) == 0
    page = (trained / "report.html").read_text(encoding="utf-8")
    sections = {part.split('"')[0]: part for part in page.split('<section id="')[1:]}
    results = json.loads((trained / "report" / "results.json").read_text())
    for task in TASKS:
        assert f"<td>{results['tasks'][task]['psnr']:.2f}</td>" in sections["results"]
        assert f"{task}: t* = " in sections["matching"]
        for part in ("radar", "forgetting", "experts", "confusion"):
            assert task in sections[part]
    # Prepared by our own tool, but few of the benchmark's pictures.
    assert "not measured on the published test sets" in sections["published"]


def rgb_psnr(lq: Path, gt: Path) -> float:
    difference = cv2.imread(str(lq)).astype(float) - cv2.imread(str(gt)).astype(float)
    return 10 * np.log10(255**2 / np.mean(difference**2))


def test_the_test_writes_the_tables(trained):
    words = [str(CONFIG), "run/iter_13.pth", "--work-dir", "tested", "--without", "LPIPS", "--cfg-options", *SMALL]
    result = run(trained.parent, "test.py", *words)
    assert result.returncode == 0, result.stderr[-3000:]
    report = trained.parent / "tested" / "report"
    rows = list(csv.DictReader((report / "pictures.csv").open()))
    assert [row["task"] for row in rows] == list(TASKS)
    for row in rows:
        place = trained.parent / "data" / "val" / row["task"]
        (lq,), (gt,) = ((place / side).iterdir() for side in ("LQ", "GT"))
        assert float(row["PSNR_LQ [rgb]"]) == pytest.approx(rgb_psnr(lq, gt), abs=1e-4)
    average = json.loads((report / "test.json").read_text())["average"]
    assert average["PSNR"] == pytest.approx(np.mean([float(row["PSNR [rgb]"]) for row in rows]), abs=1e-9)
    text = (report / "test.md").read_text()
    assert f"| average | 10 | {average['PSNR']:.2f} |" in text
    assert "Setting B" not in text
