"""The pictures that the quickstart shows."""

import runpy
from pathlib import Path

import cv2
import numpy as np

REPO = Path(__file__).resolve().parents[2]
TOOL = runpy.run_path(str(REPO / "tools" / "misc" / "quickstart_pictures.py"))


def test_the_bundled_pictures_are_those_of_the_tool(tmp_path):
    TOOL["write_damaged"](tmp_path)
    bundled = REPO / "dtir" / "assets" / "damaged"
    assert {path.name for path in bundled.iterdir()} == set(TOOL["DAMAGED"])
    for path in tmp_path.iterdir():
        made, kept = (cv2.imread(str(folder / path.name)).astype(int) for folder in (tmp_path, bundled))
        # Decoders and mathematics differ by a level or two between machines.
        assert np.abs(made - kept).mean() < 1


def test_faded_prints_are_pairs_and_can_be_undone(tmp_path):
    TOOL["write_faded"](tmp_path)
    names = sorted(path.name for path in (tmp_path / "pairs" / "LQ").iterdir())
    assert len(names) == 20
    assert names == sorted(path.name for path in (tmp_path / "pairs" / "GT").iterdir())
    assert not any(name.startswith(("coffee", "flower")) for name in names)
    lq, gt = (cv2.imread(str(tmp_path / "pairs" / side / names[0]))[..., ::-1] / 255 for side in ("LQ", "GT"))
    # What the fading did is a matrix and an offset, but for the grain.
    design = np.concatenate([lq.reshape(-1, 3), np.ones((lq.size // 3, 1))], 1)
    solved = design @ np.linalg.lstsq(design, gt.reshape(-1, 3), rcond=None)[0]
    assert np.abs(lq - gt).mean() > 0.1
    assert np.abs(solved - gt.reshape(-1, 3)).mean() < 0.3 * np.abs(lq - gt).mean()
    assert len(list((tmp_path / "faded").iterdir())) == 2
