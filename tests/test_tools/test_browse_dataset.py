import importlib.util
from pathlib import Path

import numpy as np
import pytest

from dtir.imaging.files import read_rgb, write_picture
from dtir.imaging.picture import Picture

SCRIPT = Path(__file__).parents[2] / "tools" / "analysis" / "browse_dataset.py"
CONFIG = """
_members = [dict(type="PairedDataset", task=task, data_root="{root}", patch=16) for task in ("dim", "dark")]
train_dataloader = dict(batch_size=2, dataset=dict(type="MultiTaskDataset", datasets=_members))
val_dataloader = dict(batch_size=1, dataset=_members[0])
"""


@pytest.fixture(scope="module")
def browse():
    spec = importlib.util.spec_from_file_location("browse_dataset", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def config(tmp_path):
    for folder, level in (("LQ", 0.2), ("GT", 0.8)):
        for name in ("a", "b"):
            picture = np.full((24, 48, 3), level, np.float32)
            write_picture(tmp_path / folder / f"{name}.png", Picture(picture), picture)
    path = tmp_path / "config.py"
    path.write_text(CONFIG.format(root=tmp_path))
    return path


def test_the_training_sheet_shows_lq_beside_gt_in_a_row_per_task(browse, config, tmp_path, capsys):
    assert browse.main([str(config), "--num", "3", "--out", str(tmp_path / "out")]) == 0
    path = tmp_path / "out" / "config_train.png"
    assert capsys.readouterr().out.strip() == str(path)
    sheet = read_rgb(path)
    row = 2 * browse.LABEL + browse.CELL + browse.GAP
    assert sheet.shape == (2 * row, 3 * (2 * browse.CELL + browse.GAP), 3)
    middle = [2 * browse.LABEL + browse.CELL // 2 + task * row for task in range(2)]
    left = [pair * (2 * browse.CELL + browse.GAP) + browse.CELL // 2 for pair in range(3)]
    assert (sheet[np.ix_(middle, left)] == 51).all()
    assert (sheet[np.ix_(middle, [column + browse.CELL for column in left])] == 204).all()


def test_the_validation_sheet_shows_whole_pictures(browse, config, tmp_path):
    assert browse.main([str(config), "--split", "val", "--out", str(tmp_path / "out")]) == 0
    sheet = read_rgb(tmp_path / "out" / "config_val.png")
    assert sheet.shape[1] == 2 * (2 * browse.CELL + browse.GAP)
    top, bottom = 2 * browse.LABEL + 5, 2 * browse.LABEL + browse.CELL - 5
    assert sheet[top, 5].tolist() == [51] * 3
    assert sheet[bottom, 5].tolist() == [255] * 3


def test_a_split_that_the_config_lacks_is_an_error(browse, config, capsys):
    config.write_text("work_dir = 'x'")
    assert browse.main([str(config), "--split", "val"]) == 2
    assert "val_dataloader missing" in capsys.readouterr().err
