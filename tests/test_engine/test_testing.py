"""Tests of a checkpoint: what they write, and that an interrupted one goes on."""

import csv
import json
import sys

import cv2
import numpy as np
import pytest
import torch
from tiny_run import CONFIG, ROOT, SEVERAL_PROCESSES, run_process, tiny_config

from dtir.cli import main
from dtir.core.errors import ConfigError
from dtir.datasets import MultiTaskDataset
from dtir.engine import RecordedTestLoop, StagedRunner
from dtir.engine.loops.recorded_test_loop import loader_of, recorded_pictures
from dtir.imaging.files import read_rgb
from dtir.imaging.self_ensemble import averaged_over_symmetries
from dtir.models import DiffusionRestorer
from dtir.registry import RESTORERS
from dtir.testing.stopping import StopHook, StoppedError

TASKS = ["noisy", "low-light", "jpeg-compressed"]
FILES = ["chelsea", "coffee", "rocket"]
REPORTED = ["test.md", "test.tex", "test.csv", "test.json", "pictures.csv", "pictures.json"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Small pictures, a config that tests on them, and a checkpoint."""
    folder = tmp_path_factory.mktemp("testing")
    for name in FILES:
        photo = cv2.imread(str(next((ROOT / "dtir" / "assets" / "photos").glob(f"{name}.*"))))
        cv2.imwrite(str(folder / f"{name}.png"), cv2.resize(photo, (32, 24), interpolation=cv2.INTER_AREA))
    (folder / "c.py").write_text(
        f"_base_ = {str(CONFIG)!r}\n"
        "test_dataloader = dict(dataset=dict(datasets=[\n"
        f"    dict(type='SyntheticDataset', task=task, data_root={str(folder)!r})\n"
        f"    for task in {TASKS}]))\n"
    )
    torch.manual_seed(0)
    model = RESTORERS.build(tiny_config(folder).model)
    model.matched_t.copy_(torch.tensor([5, 9, 2]))
    torch.save({"state_dict": model.state_dict(), "meta": {}}, folder / "w.pth")
    return folder


def run_test(folder, work_dir, *options: str) -> None:
    assert main(["test", str(folder / "c.py"), str(folder / "w.pth"), "--work-dir", str(work_dir), *options]) == 0


def reports(work_dir) -> dict[str, str]:
    return {name: (work_dir / "report" / name).read_text() for name in REPORTED}


@pytest.fixture(scope="module")
def whole(folder, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("whole")
    run_test(folder, work_dir, "--out", str(work_dir / "metrics.json"))
    return work_dir


def test_files_of_a_test(whole):
    means = json.loads((whole / "report" / "test.json").read_text())
    metrics = json.loads((whole / "metrics.json").read_text())
    for task in TASKS:
        assert means["tasks"][task]["n"] == 3
        assert means["tasks"][task]["SSIM"] == pytest.approx(metrics[f"{task}/SSIM"], abs=1e-12)
    assert means["average"]["PSNR"] == pytest.approx(metrics["average/PSNR"], abs=1e-12)
    pictures = list(csv.reader((whole / "report" / "pictures.csv").open()))
    assert [row[:2] for row in pictures[1:]] == [[task, name] for task in TASKS for name in FILES]
    panel = cv2.imread(str(whole / "report" / "examples" / "noisy_worst.png"))
    assert panel.shape == (3 * (26 + 240 + 6), 3 * 326, 3)
    assert "RGB rounded to 8 bits, whole picture" in (whole / "report" / "test.md").read_text()
    assert not (whole / "report" / "images").exists()


@pytest.fixture
def measured(monkeypatch) -> list[str]:
    """Pictures that the network is asked to restore."""
    seen = []
    run_iter = RecordedTestLoop.run_iter

    def counted(self, idx, data_batch):
        seen.extend(
            f"{t}/{n}" for t, n in zip(*(data_batch["data_samples"][k] for k in ("task_name", "name")), strict=True)
        )
        return run_iter(self, idx, data_batch)

    monkeypatch.setattr(RecordedTestLoop, "run_iter", counted)
    return seen


def stop(folder, work_dir, monkeypatch, picture: int, *options: str) -> None:
    with monkeypatch.context() as patch:
        setup = StagedRunner.build_test_loop

        def build(self, loop):
            self.register_hook(StopHook("after_test_iter", picture))
            return setup(self, loop)

        patch.setattr(StagedRunner, "build_test_loop", build)
        with pytest.raises(StoppedError):
            run_test(folder, work_dir, *options)


@pytest.mark.parametrize("picture", [0, 4])
def test_an_interrupted_test_goes_on(folder, whole, tmp_path, monkeypatch, measured, picture):
    stop(folder, tmp_path, monkeypatch, picture)
    assert len(measured) == picture + 1
    measured.clear()
    run_test(folder, tmp_path, "--resume")
    assert measured == [f"{task}/{name}" for task in TASKS for name in FILES][picture:]
    assert reports(tmp_path) == reports(whole)
    for panel in (whole / "report" / "examples").iterdir():
        assert (tmp_path / "report" / "examples" / panel.name).read_bytes() == panel.read_bytes()
    measured.clear()
    run_test(folder, tmp_path, "--resume")
    assert measured == []
    assert reports(tmp_path) == reports(whole)


def test_without_resume_all_is_measured_again(folder, tmp_path, monkeypatch, measured):
    stop(folder, tmp_path, monkeypatch, 2)
    measured.clear()
    run_test(folder, tmp_path)
    assert len(measured) == 9


def test_another_checkpoint_protocol_or_way_is_another_test(folder, tmp_path, monkeypatch, measured):
    stop(folder, tmp_path, monkeypatch, 2)
    measured.clear()
    state = torch.load(folder / "w.pth")
    state["state_dict"]["matched_t"] += 1
    torch.save(state, tmp_path / "w.pth")
    for words in (
        [str(tmp_path / "w.pth")],
        [str(folder / "w.pth"), "--tta"],
        [str(folder / "w.pth"), "--cfg-options", "test_evaluator.0.protocol=y"],
    ):
        assert main(["test", str(folder / "c.py"), *words, "--work-dir", str(tmp_path), "--resume"]) == 0
        assert len(measured) == 9
        measured.clear()


def test_a_changed_picture_is_measured_again(folder, tmp_path, measured):
    for path in folder.glob("*.png"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = tmp_path / "c.py"
    config.write_text((folder / "c.py").read_text().replace(str(folder), str(tmp_path)))
    words = ["test", str(config), str(folder / "w.pth"), "--work-dir", str(tmp_path / "run"), "--resume"]
    assert main(words) == 0
    (tmp_path / "coffee.png").write_bytes((tmp_path / "rocket.png").read_bytes())
    measured.clear()
    assert main(words) == 0
    assert measured == [f"{task}/coffee" for task in TASKS]
    values = json.loads((tmp_path / "run" / "report" / "pictures.json").read_text())["pictures"]
    assert len(values) == 9


@SEVERAL_PROCESSES
def test_two_processes_equal_one_and_take_over(folder, whole, tmp_path, monkeypatch):
    stop(folder, tmp_path, monkeypatch, 4)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [str(ROOT / "tools" / "test.py"), str(folder / "c.py"), str(folder / "w.pth"), "--launcher", "pytorch"]
    command += ["--work-dir", str(tmp_path), "--resume", "--out", str(tmp_path / "metrics.json")]
    result = run_process(command)
    assert result.returncode == 0, result.stderr[-3000:]
    got, expected = (json.loads((place / "metrics.json").read_text()) for place in (tmp_path, whole))
    assert got == pytest.approx(expected, abs=1e-9)
    assert reports(tmp_path)["test.md"] == reports(whole)["test.md"]
    (records,) = (tmp_path / "test_records").iterdir()
    # 4 of the first process when it was alone, then 5 by two in turns, the recorded ones counted first.
    lines = [path.read_text().split("\n") for path in sorted(records.glob("process_*.jsonl"))]
    assert [len([line for line in part if line]) for part in lines] == [4 + 3, 2]


def test_several_protocols_in_one_table(folder, tmp_path):
    config = tmp_path / "c.py"
    config.write_text(
        f"_base_ = {str(folder / 'c.py')!r}\n"
        "test_evaluator = [dict(type='PSNR'), dict(type='SSIM'), dict(type='InputPSNR'),\n"
        "                  dict(type='PSNR', protocol='y', prefix='y'), dict(type='MAE')]\n"
    )
    for words in ([], ["--resume"]):
        command = ["test", str(config), str(folder / "w.pth"), "--work-dir", str(tmp_path / "run"), *words]
        assert main(command) == 0
        header, first, *_ = csv.reader((tmp_path / "run" / "report" / "pictures.csv").open())
        assert header[2:] == ["PSNR [rgb]", "SSIM [rgb]", "PSNR_LQ [rgb]", "y/PSNR [y]", "MAE [rgb]"]
        assert abs(float(first[2]) - float(first[5])) > 0.1
    assert "y/PSNR: protocol 'y' (RGB rounded" in (tmp_path / "run" / "report" / "test.md").read_text()


def test_saved_pictures_are_the_measured_ones(folder, tmp_path):
    run_test(folder, tmp_path, "--save-images")
    for entry in json.loads((tmp_path / "report" / "pictures.json").read_text())["pictures"]:
        saved = read_rgb(tmp_path / "report" / "images" / entry["task"] / f"{entry['picture']}.png")
        clean = read_rgb(folder / f"{entry['picture']}.png")
        mse = np.mean((saved / 255 - clean / 255) ** 2)
        assert -10 * np.log10(mse) == pytest.approx(entry["PSNR"], abs=1e-6)


def test_tta_is_the_self_ensemble(folder, whole, tmp_path):
    run_test(folder, tmp_path, "--tta")
    assert "TinyBackbone, self-ensemble" in (tmp_path / "report" / "test.md").read_text()
    assert reports(tmp_path)["pictures.csv"] != reports(whole)["pictures.csv"]
    model = RESTORERS.build(tiny_config(tmp_path).model)
    picture = torch.randint(0, 256, (3, 7, 9), dtype=torch.uint8)
    model.self_ensemble = True
    with torch.no_grad():
        (sample,) = model.forward([picture], [{"task": 0}], mode="predict")
        expected = averaged_over_symmetries(model.restore, picture[None] / 255, torch.zeros(1, dtype=torch.long))
    torch.testing.assert_close(sample["pred"], expected[0].clamp(0, 1))


def test_tiles_are_restored_alone_and_told(folder, whole, tmp_path, monkeypatch, capsys):
    shapes, restore = [], DiffusionRestorer.restore
    monkeypatch.setattr(
        DiffusionRestorer,
        "restore",
        lambda self, lq, t: (lq.is_meta or shapes.append(lq.shape), restore(self, lq, t))[1],
    )
    run_test(folder, tmp_path, "--tile", "16", "--overlap", "8")
    # Besides what counts the multiply-accumulates, without memory.
    assert {tuple(shape[-2:]) for shape in shapes} == {(16, 16)}
    assert "TinyBackbone, tiles of 16 with 8 in common" in (tmp_path / "report" / "test.md").read_text()
    mine, others = (list(csv.reader((place / "report" / "pictures.csv").open())) for place in (tmp_path, whole))
    psnr = np.array([[row[2] for row in rows[1:]] for rows in (mine, others)], float)
    assert np.abs(psnr[0] - psnr[1]).max() < 0.2
    words = ["test", str(folder / "c.py"), str(folder / "w.pth"), "--work-dir", str(tmp_path)]
    for extra, message in (
        (["--overlap", "8"], "--overlap 8 is of tiles"),
        (["--tile", "8"], "tile=8 with overlap=32"),
    ):
        assert main([*words, *extra]) == 2
        assert message in " ".join(capsys.readouterr().err.split())


def test_generalisation_sets_have_rows_of_their_own(folder, tmp_path):
    for place, photo in (("seen", "chelsea"), ("unseen", "coffee")):
        for side in ("LQ", "GT"):
            (tmp_path / place / side).mkdir(parents=True)
            (tmp_path / place / side / "a.png").write_bytes((folder / f"{photo}.png").read_bytes())
        cv2.imwrite(str(tmp_path / place / "LQ" / "a.png"), cv2.imread(str(folder / f"{photo}.png")) // 2)
    seen = f"dict(type='PairedDataset', task='low-light', data_root={str(tmp_path / 'seen')!r})"
    unseen = f"dict(type='PairedDataset', task='low-light', data_root={str(tmp_path / 'unseen')!r}, test_set='Night')"
    config = tmp_path / "c.py"
    config.write_text(
        f"_base_ = {str(CONFIG)!r}\n"
        f"test_dataloader = dict(dataset=dict(datasets=[{seen}, {unseen}]))\n"
        "test_evaluator = [dict(type=kind) for kind in ('PSNR', 'SSIM', 'InputPSNR', 'LPIPS')]\n"
    )
    command = ["test", str(config), str(folder / "w.pth"), "--work-dir", str(tmp_path / "run")]
    assert main([*command, "--without", "LPIPS", "--save-images", "--out", str(tmp_path / "m.json")]) == 0
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["average/PSNR"] == metrics["low-light/PSNR"] != metrics["low-light@Night/PSNR"]
    report = tmp_path / "run" / "report"
    assert "| low-light | Night | " in (report / "test.md").read_text()
    assert (report / "examples" / "low-light@Night_best.png").is_file()
    assert (report / "images" / "low-light@Night" / "a.png").is_file()
    rows = json.loads((report / "results.json").read_text())
    # The step of low light, the model's second task, though it is the first of this test.
    assert [row["matched_t"] for row in rows["tasks"].values()] == [9, 9]
    assert rows["average"]["psnr"] == rows["tasks"]["low-light"]["psnr"]


def test_lpips_without_weights_ends_before_the_test_and_says_how_to_go_on(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    config = tmp_path / "c.py"
    config.write_text(f"_base_ = {str(folder / 'c.py')!r}\ntest_evaluator = [dict(type='PSNR'), dict(type='LPIPS')]\n")
    command = ["test", str(config), str(folder / "w.pth"), "--work-dir", str(tmp_path / "run")]
    assert main(command) == 2
    error = capsys.readouterr().err
    assert "Put alexnet-owt-7be5be79.pth there" in error
    assert "--without LPIPS" in error
    assert "`dtir eval` without it in --metrics" in error
    assert not (tmp_path / "run" / "test_records").exists()
    assert main([*command, "--without", "NIQE"]) == 2
    assert "--without NIQE: test_evaluator has no metric of that type, only PSNR, LPIPS." in capsys.readouterr().err


def test_loader_of_some_items():
    loader = torch.utils.data.DataLoader(torch.arange(10), batch_size=2)
    assert [batch.tolist() for batch in loader_of(loader, [7, 1, 4])] == [[7, 1], [4]]


def test_what_cannot_be_resumed_says_why(tmp_path):
    class Nameless:
        task = "noisy"

        def __len__(self):
            return 1

    with pytest.raises(ConfigError, match=r"MultiTaskDataset cannot be resumed: each .* must list its pictures"):
        recorded_pictures(MultiTaskDataset([Nameless()]), [])
    runner = StagedRunner.from_cfg(tiny_config(tmp_path, **{"test_cfg.resume": True}))
    with pytest.raises(ConfigError, match="needs the checkpoint that it was started with"):
        runner.test()
    config = tiny_config(tmp_path, **{"test_cfg.resume": True, "load_from": "w.pth"})
    runner = StagedRunner.from_cfg(config)
    loop = runner.build_test_loop(runner._test_loop)
    loop.metrics = loop.metrics[:2]
    with pytest.raises(ConfigError, match="a test with InputPSNR cannot be resumed"):
        loop._start()


def test_the_report_needs_psnr(tmp_path):
    hooks = [{"type": "TestReportHook"}]
    runner = StagedRunner.from_cfg(tiny_config(tmp_path, custom_hooks=hooks, test_evaluator=[{"type": "SSIM"}]))
    with pytest.raises(ConfigError, match=r"ranks pictures by PSNR: put dict\(type='PSNR'\) into test_evaluator"):
        runner.test()
    runner = StagedRunner.from_cfg(tiny_config(tmp_path, custom_hooks=hooks, test_cfg={"type": "TestLoop"}))
    with pytest.raises(ConfigError, match="of type RecordedTestLoop, not TestLoop"):
        runner.test()
