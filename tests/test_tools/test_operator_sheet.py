"""tools/analysis/operator_sheet.py: every registered operator is on the sheet."""

import sys

import cv2
import pytest
import torch

from dtir.datasets import resolve_root
from dtir.registry import OPERATORS
from tools.analysis import operator_sheet

PHOTO = resolve_root("asset://photos") / "china.jpg"


def run(monkeypatch, *words: object) -> int:
    monkeypatch.setattr(sys, "argv", ["operator_sheet.py", *map(str, words)])
    return operator_sheet.main()


@pytest.mark.parametrize("name", OPERATORS.module_dict)
def test_every_operator_has_its_three_pictures(name):
    x = operator_sheet.square(PHOTO, 64)
    (title, clean), (size, measured), (_, back) = operator_sheet.cells(name, x)
    assert title == name
    assert clean.shape == back.shape == (64, 64, 3)
    assert measured.std() > 5
    numbers = [int(number) for number in size.removeprefix("A x: ").split(" x ")]
    assert numbers == list(operator_sheet.example(name, 64).A(x).shape[1:])


def test_the_sheet_is_written(monkeypatch, tmp_path):
    for name in ("sheet.png", "sheet.jpg"):
        assert run(monkeypatch, "--image", PHOTO, "--out", tmp_path / name, "--size", 32, "--cell", 40) == 0
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[1] == 6 * 46
    assert (tmp_path / "sheet.jpg").read_bytes()[:2] == b"\xff\xd8"


def test_mistakes_are_named(monkeypatch, tmp_path, capsys):
    assert run(monkeypatch, "--image", PHOTO, "--out", tmp_path / "sheet.png", "--size", 512) == 1
    assert "640 x 427 pixels; --size 512" in capsys.readouterr().err
    monkeypatch.setitem(OPERATORS.module_dict, "Mine", torch.nn.Identity)
    assert run(monkeypatch, "--image", PHOTO, "--out", tmp_path / "sheet.png", "--size", 32) == 1
    assert "operator 'Mine' has no example" in capsys.readouterr().err
