"""tools/analysis/precision_difference.py: how far half precision is off."""

import re

import numpy as np
import pytest
import torch
from PIL import Image

import dtir.testing.models  # noqa: F401 - registers TinyBackbone.
from dtir import RestorationInferencer
from dtir.apis.models.files import write_model_file
from dtir.registry import RESTORERS
from tools.analysis import precision_difference

CONFIG = {"type": "SupervisedRestorer", "backbone": {"type": "TinyBackbone", "width": 2}, "tasks": ["hazy", "noisy"]}


@pytest.fixture
def model_file(tmp_path):
    torch.manual_seed(0)
    model = RESTORERS.build(CONFIG)
    model.model_cfg = CONFIG
    write_model_file(tmp_path / "tiny.safetensors", model)
    return tmp_path / "tiny.safetensors"


def test_the_largest_difference_of_any_picture_is_found(model_file, tmp_path, capsys):
    folder = tmp_path / "photos"
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (3, 30, 41, 3), np.uint8)
    pixels[2] //= 4
    for number, one in enumerate(pixels):
        Image.fromarray(one).save(folder / f"{number}.png")
    assert precision_difference.main([str(folder), "--model", str(model_file), "--side", "16", "--device", "cpu"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    restored = [
        RestorationInferencer(model_file, device="cpu", precision=precision).restore_array(
            pixels[0, 7:23, 12:28], "hazy"
        )
        for precision in ("float32", "bf16")
    ]
    off = 255 * np.abs(restored[0] - restored[1]).mean()
    assert off > 0.005
    # This restorer computes the same for each task.
    assert lines[0] == f"{off:.3f}  {off:.3f} (hazy)  {folder / '0.png'}"
    largest = max(line.split()[0] for line in lines)
    assert len(lines) == 3
    assert re.match(rf"bf16, 3 pictures, 2 tasks: mean .* of a picture at most {largest}, of a picture and task", last)


def test_pictures_are_taken_evenly():
    assert precision_difference.chosen(range(10), 4) == [0, 2, 5, 7]
    assert precision_difference.chosen(range(3), 4) == [0, 1, 2]


def test_a_folder_without_pictures_is_an_error(model_file, tmp_path, capsys):
    assert precision_difference.main([str(tmp_path), "--model", str(model_file)]) == 1
    assert f"no pictures in {tmp_path}" in capsys.readouterr().err
