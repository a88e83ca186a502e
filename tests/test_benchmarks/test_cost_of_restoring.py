"""What `dtir restore` costs, measured in processes of its own."""

import cv2
import numpy as np
import pytest
import torch

from benchmarks.cost import enlarged, measured, restored_as, run
from dtir.core.errors import DtirError


def test_a_picture_is_enlarged_with_noise(tmp_path):
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((8, 8, 3), 128, np.uint8))
    enlarged(tmp_path / "grey.png", tmp_path / "large.jpg", (200, 100), 10)
    picture = cv2.imread(str(tmp_path / "large.jpg"))
    assert picture.shape == (100, 200, 3)
    assert picture.mean() == pytest.approx(128, abs=1)
    assert 7 < picture.astype(float).std() < 12


def test_a_row_says_what_was_done_and_what_it_took(tmp_path):
    path = tmp_path / "grey.png"
    cv2.imwrite(str(path), np.full((24, 32, 3), 128, np.uint8))
    name, pixels, task, done, seconds, memory = measured(path, "noisy", "universal", 1, tmp_path)
    assert (name, pixels, task, done) == ("grey.png", "32 x 24", "noisy", "noisy, step 25")
    assert 0 < float(seconds) < 300
    assert (0 if torch.cuda.is_available() else 100) < float(memory) < 10_000


def test_a_picture_without_a_line_is_an_error(tmp_path):
    with pytest.raises(DtirError, match="says nothing of"):
        restored_as("1 picture restored into out", tmp_path / "a.png")


def test_a_command_that_fails_says_why(tmp_path):
    with pytest.raises(DtirError, match=r"nowhere\.png"):
        run(["restore", str(tmp_path / "nowhere.png"), "--out", str(tmp_path)])
