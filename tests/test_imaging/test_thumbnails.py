import cv2
import numpy as np
import pytest

from dtir.imaging.thumbnails import jpeg_thumbnail


@pytest.mark.parametrize(("side", "size"), [(30, (30, 15)), (600, (120, 60)), (1, (1, 1))])
def test_a_thumbnail_is_of_the_wanted_side_and_never_larger(tmp_path, side, size):
    deep = np.full((60, 120, 3), (50 * 257, 100 * 257, 200 * 257), np.uint16)
    assert cv2.imwrite(str(tmp_path / "a.png"), deep)
    seen = cv2.imdecode(np.frombuffer(jpeg_thumbnail(tmp_path / "a.png", side), np.uint8), cv2.IMREAD_COLOR)
    assert seen.shape[1::-1] == size
    assert np.abs(seen.reshape(-1, 3).mean(0) - (50, 100, 200)).max() < 3
