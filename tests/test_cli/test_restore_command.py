import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from dtir import cli

PICTURE = np.full((5, 7, 3), 100, np.uint8)
# Of one colour all over it would be left as it is.
PICTURE[-1, -1] = 0


class InvertingRestorer(nn.Module):
    tasks = ("noisy", "rainy")
    num_timesteps = 50

    def __init__(self):
        super().__init__()
        self.matched_t = torch.tensor([6, 1])
        self.seen_t = []

    def restore(self, lq, t):
        self.seen_t += t.tolist()
        return 1 - lq


class BlindRestorer(InvertingRestorer):
    """Says rainy once, then noisy, of which it is not sure."""

    def __init__(self):
        super().__init__()
        self.answers = [[0.0, 3.5], [0.0, 0.0]]

        class Estimator(nn.Module):
            classes, least_confidence = self.tasks, 0.6

            def forward(estimator, lq):  # noqa: N805 - `self` is the restorer.
                return torch.tensor([self.answers.pop(0)])

        self.estimator = Estimator()


@pytest.fixture
def restorer(monkeypatch):
    model = InvertingRestorer()
    monkeypatch.setattr("dtir.apis.models.names.find_model", lambda model: model)
    monkeypatch.setattr("dtir.apis.models.build.load_restorer", lambda path, device: model)
    return model


@pytest.fixture
def pictures(tmp_path):
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    for name in ("a.png", "b [1].png", "sub/c.png"):
        assert cv2.imwrite(str(folder / name), PICTURE)
    return folder


def restore(*arguments):
    return cli.main(["restore", *map(str, arguments), "--checkpoint", "model.pth", "--device", "cpu"])


def test_pictures_are_restored_and_counted(restorer, pictures, tmp_path, capsys):
    out = tmp_path / "out"
    assert restore(pictures, "--task", "rainy", "--out", out) == 0
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "b [1].png"]
    assert (cv2.imread(str(out / "a.png")) == 255 - PICTURE).all()
    assert restorer.seen_t == [1, 1]
    assert f"2 pictures restored into {out}" in capsys.readouterr().out


def test_options_reach_the_inferencer(restorer, pictures, tmp_path, capsys):
    options = ["--t", 7, "--recursive", "--tile", 64, "--overlap", 8, "--self-ensemble", "--amp"]
    assert restore(pictures, *options, "--out", tmp_path / "out") == 0
    assert (tmp_path / "out/sub/c.png").exists()
    assert restorer.seen_t == [7] * 8 * 3
    assert "--amp is deprecated: --precision bf16" in capsys.readouterr().err


def test_a_picture_needs_no_other_argument(tmp_path, pictures, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    asked = []
    estimated = BlindRestorer()
    monkeypatch.setattr("dtir.apis.models.names.find_model", lambda model: asked.append(model) or "shipped")
    monkeypatch.setattr("dtir.apis.models.build.load_restorer", lambda path, device: estimated)
    assert cli.main(["restore", str(pictures / "a.png")]) == 0
    assert asked[0] is None
    assert (cv2.imread(str(tmp_path / "restored/a.png")) == 255 - PICTURE).all()
    assert f"{pictures / 'a.png'}: rainy (0.97), step 1\n" in capsys.readouterr().out


def test_an_installation_without_a_model_says_what_is_missing(pictures, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("dtir.apis.models.names.packaged_models", lambda folder: {})
    assert cli.main(["restore", str(pictures / "a.png"), "--out", str(tmp_path / "out")]) == 2
    assert "holds no model" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_output_of_one_file_may_be_named(restorer, pictures, tmp_path):
    target = tmp_path / "out" / "mine.tif"
    assert restore(pictures / "a.png", "--t", 0, "--out", target) == 0
    assert (cv2.imread(str(target)) == 255 - PICTURE).all()


def test_a_dry_run_says_what_would_be_done(restorer, pictures, tmp_path, capsys):
    (pictures / "bad.png").write_bytes(b"no picture")
    options = ["--task", "noisy", "--format", "jpg", "--suffix", "_new", "--dry-run", "--out", tmp_path / "out"]
    assert restore(pictures, *options) == 1
    captured = capsys.readouterr()
    assert f"{pictures / 'a.png'} -> {tmp_path / 'out' / 'a_new.jpg'}  7 x 5" in captured.out
    assert "2 pictures to restore: 0.0 megapixels" in captured.out
    assert "nothing was written" in captured.out
    assert "bad.png" in captured.err
    assert not (tmp_path / "out").exists()


def test_archive_options_reach_the_files(pictures, tmp_path, monkeypatch, capsys):
    estimated = BlindRestorer()
    monkeypatch.setattr("dtir.apis.models.names.find_model", lambda model: Path(__file__))
    monkeypatch.setattr("dtir.apis.models.build.load_restorer", lambda path, device: estimated)
    log, sheet = tmp_path / "log.jsonl", tmp_path / "sheet.html"
    estimated.answers = [[0.0, 3.5], [0.0, 0.0], [0.0, 0.0]]
    options = ["--out", str(tmp_path / "out"), "--format", "jpg", "--quality", "60", "--log", str(log)]
    assert cli.main(["restore", str(pictures), *options, "--sheet", str(sheet)]) == 0
    printed = capsys.readouterr().out
    assert "1 picture restored" in printed
    assert "1 picture left and copied" in printed
    assert f"before and after: {sheet}" in printed
    assert [json.loads(line)["status"] for line in log.read_text().splitlines()] == ["restored", "left"]
    assert sheet.read_text().count("<figure>") == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.jpg", "b [1].jpg"]
    assert cli.main(["restore", str(pictures), *options, "--sheet", str(sheet)]) == 0
    printed = capsys.readouterr().out
    assert "2 pictures skipped" in printed
    assert f"no page is written to {sheet}" in printed
    assert sheet.read_text().count("<figure>") == 2


def test_strength_and_mask_reach_the_picture(restorer, pictures, tmp_path):
    mask = np.zeros((5, 7), np.uint8)
    mask[2, 3] = 255
    assert cv2.imwrite(str(tmp_path / "mask.png"), mask)
    options = ["--task", "noisy", "--strength", "0.2", "--mask", tmp_path / "mask.png", "--out", tmp_path / "out"]
    restorer.tasks = ("noisy", "inpainting")
    assert restore(pictures / "a.png", *options) == 0
    output = cv2.imread(str(tmp_path / "out/a.png"))
    # The hole is filled with 1 - 1 = 0 and then, like the rest, moved by a fifth of the change.
    assert (output[2, 3] == 51).all()
    assert (output[0, 0] == 111).all()


def test_second_run_skips_and_says_so(restorer, pictures, tmp_path, capsys):
    arguments = (pictures, "--task", "noisy", "--out", tmp_path / "out")
    restore(*arguments)
    assert restore(*arguments) == 0
    assert "2 pictures skipped: the output exists; --overwrite" in capsys.readouterr().out
    assert restore(*arguments, "--overwrite") == 0
    assert "2 pictures restored" in capsys.readouterr().out


@pytest.mark.parametrize(("options", "channels"), [([], 1), (["--colour"], 3)])
def test_grey_files_stay_grey_unless_told(restorer, tmp_path, options, channels):
    source = tmp_path / "grey.png"
    cv2.imwrite(str(source), np.full((5, 7), 100, np.uint8))
    assert restore(source, "--task", "rainy", "--out", tmp_path / "out", *options) == 0
    written = cv2.imread(str(tmp_path / "out" / "grey.png"), cv2.IMREAD_UNCHANGED)
    assert written.reshape(5, 7, -1).shape[2] == channels
    assert (written == 155).all()


def test_failed_picture_gives_exit_code_one_and_its_reason(restorer, pictures, tmp_path, capsys):
    (pictures / "bad [x].png").write_bytes((pictures / "a.png").read_bytes()[:40])
    assert restore(pictures, "--task", "noisy", "--out", tmp_path / "out") == 1
    captured = capsys.readouterr()
    assert "2 pictures restored" in captured.out
    assert "1 failed:" in captured.err
    assert "bad [x].png" in captured.err
    assert "ends early" in captured.err


def test_where_all_failed_nothing_is_counted_as_restored(restorer, tmp_path, capsys):
    assert restore(tmp_path / "missing.png", "--task", "noisy", "--out", tmp_path / "out") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert f"no file or folder '{tmp_path / 'missing.png'}'" in captured.err


def test_a_failure_names_its_picture_where_an_output_has_the_same_path(restorer, pictures, capsys):
    (pictures / "a.bmp").write_bytes((pictures / "a.png").read_bytes())
    assert restore(pictures, "--task", "noisy", "--format", "png", "--out", pictures) == 1
    said = capsys.readouterr().err
    assert f"  {pictures / 'a.png'}: its output {pictures / 'a.png'} is already that of '{pictures / 'a.bmp'}'" in said


def test_names_with_control_characters_are_shown_escaped(restorer, pictures, tmp_path, capsys):
    whole = (pictures / "a.png").read_bytes()
    (pictures / "two\nlines.png").write_bytes(whole)
    (pictures / "\x1b[2Jcut.png").write_bytes(whole[:40])
    assert restore(pictures, "--task", "noisy", "--out", tmp_path / "out") == 1
    captured = capsys.readouterr()
    assert r"two\nlines.png: noisy" in captured.out
    assert r"\x1b[2Jcut.png" in captured.err
    assert "\x1b" not in captured.out + captured.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "nosy"], "Did you mean 'noisy'"),
        (["--t", "51"], "from 0 to 50"),
        (["--t", "0", "--tile", "32", "--overlap", "30"], "at least 62"),
        (["--task", "noisy", "--t", "3"], "not both"),
        (["--t", "auto"], "time steps of their own"),
    ],
)
def test_wrong_use_gives_exit_code_two_and_one_message(restorer, pictures, tmp_path, capsys, options, message):
    assert restore(pictures, *options, "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--t", "some"], "'some' is neither a time step"),
        (["--t", "3", "--tile", "big"], "'big' is neither a number"),
    ],
)
def test_contradicting_arguments_are_refused(options, message, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        restore("a.png", *options, "--out", tmp_path)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_missing_checkpoint_is_named(tmp_path, capsys):
    missing = tmp_path / "none.pth"
    arguments = ["restore", "a.png", "--t", "0", "--out", str(tmp_path), "--checkpoint", str(missing)]
    assert cli.main(arguments) == 2
    assert str(missing) in capsys.readouterr().err


def test_own_modules_are_imported_from_the_present_folder(restorer, pictures, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "my_cli_probe.py").write_text("imported = True")
    arguments = (pictures, "--t", 0, "--out", tmp_path / "out", "--import")
    assert restore(*arguments, "my_cli_probe") == 0
    assert sys.modules.pop("my_cli_probe").imported
    with pytest.raises(SystemExit, match="2"):
        restore(*arguments, "no_such_module_here")
    assert "--import no_such_module_here" in capsys.readouterr().err


def test_interruption_is_clean(restorer, pictures, tmp_path, capsys, monkeypatch):
    def interrupt(lq, t):
        raise KeyboardInterrupt

    monkeypatch.setattr(restorer, "restore", interrupt)
    assert restore(pictures, "--t", 0, "--out", tmp_path / "out") == 130
    assert "Interrupted" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "test"])
def test_training_commands_are_handed_to_the_launcher(command, monkeypatch):
    seen = []
    monkeypatch.setattr(f"dtir.cli.{command}.run", lambda args: seen.append(args.config))
    extra = ["model.pth"] if command == "test" else []
    assert cli.main([command, "config.py", *extra]) == 0
    assert seen == ["config.py"]


def test_help_answers_without_the_heavy_imports():
    code = (
        "import sys; from dtir.cli import build_parser; build_parser().format_help();"
        "print([m for m in ('torch', 'mmengine', 'cv2', 'numpy') if m in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_exit_code_of_the_process():
    command = [sys.executable, "-m", "dtir.cli", "restore", "x.png", "--t", "0", "--out", "x", "--model", "no.pth"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "no.pth" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("sheet", "message"), [("in/a.png", "is no name of a page"), ("in/a.png/x.html", "is a file; name a folder")]
)
def test_a_page_that_cannot_be_written_is_said_before_any_work(
    restorer, pictures, tmp_path, monkeypatch, capsys, sheet, message
):
    monkeypatch.chdir(tmp_path)
    before = (pictures / "a.png").read_bytes()
    assert restore(pictures, "--model", "x", "--task", "rainy", "--out", tmp_path / "out", "--sheet", sheet) == 2
    assert message in capsys.readouterr().err
    assert (pictures / "a.png").read_bytes() == before
    assert not (tmp_path / "out").exists()


def test_what_the_system_refuses_is_an_error_that_names_it(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert cli.main(["init", str(tmp_path / "file" / "project")]) == 2
    error = capsys.readouterr().err
    assert str(tmp_path / "file") in error
    assert "Not a directory" in error


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [("broken_part.py", "def f(:", "SyntaxError"), ("unset_part.py", "foo", "foo"), ("json.py", "", "rename the file")],
)
def test_a_module_that_cannot_be_imported_is_an_error(tmp_path, monkeypatch, capsys, name, text, message):
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / name).write_text(text)
    with pytest.raises(SystemExit) as end:
        restore("a.png", "--import", tmp_path / name)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_the_plan_of_a_prompt_is_printed_before_the_pictures(restorer, pictures, tmp_path, capsys):
    prompt = "remove the rain, then denoise a little"
    assert restore(pictures, "--prompt", prompt, "--out", tmp_path / "out") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [f"plan for '{prompt}':", "  1. rainy, step 1", "  2. noisy, step 6, strength 0.5"]
    assert lines[3].endswith("a.png: rainy, step 1; noisy, step 6, strength 0.5")
    # 100 is inverted to 155, and that half-way to 100.
    assert (cv2.imread(str(tmp_path / "out" / "a.png")) == 128).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prompt", "denoise", "--task", "noisy"], "leave out the task, or the prompt"),
        (["--prompt", "denoise", "--strength", "0.5"], "leave out the strength, or the prompt"),
        (["--prompt", "bring back my youth"], "not understood: bring, youth"),
        (["--prompt", "dehaze"], "asks for hazy ('dehaze'), which this model was not trained on"),
        (["--prompt", "denoise", "--encoder", "a.npz"], "this model has no use for one"),
    ],
)
def test_a_prompt_that_cannot_be_followed_is_an_error(restorer, pictures, tmp_path, capsys, options, message):
    assert restore(pictures, *options, "--out", tmp_path / "out") == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ray", "scans/"], "'scans/' is no address of a Ray cluster"),
        (["--ray-dashboard"], "give --ray as well"),
        (["--share", "5/4"], "the share '5/4' is none"),
    ],
)
def test_a_cluster_or_a_share_that_is_none_is_said_before_the_model_is_loaded(restorer, capsys, words, message):
    assert cli.main(["restore", "x.png", "--model", "x.pth", *words]) == cli.EXIT_ERROR
    assert message in capsys.readouterr().err
