"""What holds for the command line of every tool and benchmark."""

import argparse
import re
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset

from dtir.cli import exit_code
from dtir.cli.numbers import natural, positive_int
from dtir.core.errors import ConfigError, ImageFileError

REPO = Path(__file__).resolve().parents[2]
TOOLS = [
    path
    for path in (*sorted((REPO / "tools").glob("*/*.py")), *sorted((REPO / "benchmarks").glob("[!_]*.py")))
    if "__main__" in path.read_text(encoding="utf-8")
]
# Of the site that Sphinx built: neither a config nor a model.
PLAIN = ("check_site.py",)


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.name)
def test_errors_are_sentences_and_numbers_are_checked(path):
    text = path.read_text(encoding="utf-8")
    assert path.name in PLAIN or "sys.exit(exit_code(main))" in text or "except DtirError" in text
    assert re.findall(r"type=(int|float)\b(?!.*nargs)", text) == []


LOADERS = r"\b(load_config|load_restorer|find_model|build_backbone)\("


@pytest.mark.parametrize("path", [path for path in TOOLS if path.parts[-3] == "tools"], ids=lambda path: path.name)
def test_a_tool_that_builds_a_model_of_the_users_imports_his_modules(path):
    text = path.read_text(encoding="utf-8")
    assert "add_import_argument(parser)" in text or not re.search(LOADERS, text)


def test_a_users_error_becomes_an_exit_code(capsys):
    def fails():
        raise ConfigError("model.width is 'x'; expected an integer.")

    assert (exit_code(lambda: None), exit_code(lambda: 1), exit_code(fails)) == (0, 1, 2)
    assert capsys.readouterr().err == "Error: model.width is 'x'; expected an integer.\n"
    assert exit_code(REPO.read_bytes) == 2


@pytest.mark.parametrize(
    ("kind", "wrong"), [(positive_int, "0"), (positive_int, "x"), (natural, "-1"), (natural, "2.5")]
)
def test_numbers_out_of_range_end_the_command_with_its_usage(kind, wrong, capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("--side", type=kind)
    assert parser.parse_args(["--side", "7"]).side == 7
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--side", wrong])
    assert ended.value.code == 2
    assert f"argument --side: '{wrong}'; expected an integer of at least" in capsys.readouterr().err


class _BadPicture(Dataset):
    def __init__(self, error):
        self.error = error

    def __len__(self):
        return 1

    def __getitem__(self, index):
        raise self.error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ImageFileError("cannot read 'a.png': it ends early."), "cannot read 'a.png': it ends early."),
        (ImageFileError("of 'a.png', ImageFileError: ends"), "of 'a.png', ImageFileError: ends"),
        (ConfigError("two lines:\n  a: 1"), "two lines:\n  a: 1"),
        (PermissionError(13, "Permission denied", "a.png"), "[Errno 13] Permission denied: 'a.png'."),
    ],
)
def test_an_error_of_a_worker_is_said_without_its_traceback(error, line, capsys):
    assert exit_code(lambda: list(DataLoader(_BadPicture(error), num_workers=1))) == 2
    assert capsys.readouterr().err == f"Error: {line}\n"
