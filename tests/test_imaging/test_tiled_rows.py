import os

import numpy as np
import pytest
import torch
from torch import nn

from dtir.imaging.opening import open_source
from dtir.imaging.rows import RowFile, SourceRows
from dtir.imaging.tiled_rows import tiled_rows
from dtir.imaging.tiling import tiled_apply


@pytest.mark.parametrize(("size", "batch_size"), [((150, 101), 1), ((49, 150), 3), ((64, 64), 1), ((40, 130), 2)])
def test_bands_together_are_the_whole_picture(size, batch_size):
    torch.manual_seed(0)
    network = nn.Conv2d(3, 3, 5, padding=2)
    image = torch.rand(1, 3, *size)
    asked, done = [], []

    def rows(start, stop):
        asked.append((start, stop))
        return image[0, :, start:stop].permute(1, 2, 0).numpy()

    settings = {"tile": 64, "overlap": 16, "batch_size": batch_size, "multiple": 4}
    bands = [band.clone() for band in tiled_rows(network, rows, size, callback=lambda *n: done.append(n), **settings)]
    whole = tiled_apply(network, image, **settings)
    torch.testing.assert_close(torch.cat(bands, 2), whole, rtol=0, atol=1e-6)
    # Every row is read once, from top to bottom.
    assert [start for start, _ in asked] == [0, *(stop for _, stop in asked[:-1])]
    assert done[-1][0] == done[-1][1]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_a_file_of_rows_is_an_image_and_leaves_nothing(tmp_path, channels, dtype):
    pixels = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (150, 7, channels)).astype(dtype)
    rows = RowFile(tmp_path, 7, channels, dtype)
    for start in range(0, 150, 40):
        rows.append(pixels[start : start + 40])
    np.testing.assert_array_equal(rows(30, 90), pixels[30:90])
    np.testing.assert_array_equal(rows.as_image().numpy().reshape(pixels.shape), pixels)
    rows.close()
    assert os.listdir(tmp_path) == []


def test_rows_of_a_source_are_its_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (90, 7)).astype(np.uint8)
    (tmp_path / "a.pgm").write_bytes(b"P5 7 90 255\n" + pixels.tobytes())
    rows = SourceRows(open_source(tmp_path / "a.pgm"))
    read = np.concatenate([rows.rgb(start, min(start + 40, 90)) for start in range(0, 90, 40)])
    np.testing.assert_array_equal(np.rint(read * 255)[:, :, 2], pixels)
