import itertools
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F

from dtir.core.errors import ConfigError
from dtir.imaging.tiling import blend_spans, tile_starts, tiled_apply


def random_image(*shape, seed=0, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def blur(radius):
    """A local function with zero padding at the border of what it sees, so tile edges matter."""
    side = 2 * radius + 1
    kernel = random_image(1, 1, side, side, seed=1)
    kernel = (kernel / kernel.sum()).expand(3, 1, side, side)
    return lambda x: F.conv2d(x, kernel.to(x.dtype), padding=radius, groups=3)


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (33, 5), (64, 64), (65, 64), (97, 131)])
@pytest.mark.parametrize(
    ("tile", "overlap", "multiple"), [(16, 4, 1), (17, 16, 1), (32, 0, 1), (32, 7, 4), (64, 16, 16)]
)
def test_identity_returns_the_image(size, tile, overlap, multiple):
    image = random_image(2, 3, *size)
    output = tiled_apply(lambda x: x, image, tile, overlap, batch_size=3, multiple=multiple)
    torch.testing.assert_close(output, image, rtol=0, atol=1e-6)


@pytest.mark.parametrize("length", [1, 7, 40, 41, 63, 64, 100, 1000])
@pytest.mark.parametrize(
    ("tile", "overlap", "multiple"), [(40, 0, 1), (40, 1, 1), (40, 39, 1), (40, 12, 8), (64, 32, 16)]
)
def test_spans_cover_overlap_and_sum_to_one(length, tile, overlap, multiple):
    spans = blend_spans(length, tile, overlap, multiple)
    total = torch.zeros(length, dtype=torch.float64)
    for span in spans:
        assert span.start % multiple == 0
        assert tile - multiple < span.stop - span.start <= tile or len(spans) == 1
        assert span.weight.min() >= 0
        total[span.start : span.stop] += span.weight
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-15)
    assert (spans[0].start, spans[-1].stop) == (0, length)
    assert all(a.stop - b.start >= overlap for a, b in itertools.pairwise(spans))


def test_weights_change_smoothly():
    first = blend_spans(100, 64, 32)[0].weight
    assert first.diff().abs().max() < 0.1
    assert (first.diff() <= 0).all()


@pytest.mark.parametrize(("length", "tile", "overlap"), [(100, 64, 32), (40, 64, 0), (130, 32, 8)])
def test_gaussian_weights_are_those_of_all_tiles_over_their_sum(length, tile, overlap):
    spans = blend_spans(length, tile, overlap, blend="gaussian")
    total, gaussians = torch.zeros(length, dtype=torch.float64), []
    for start, stop, _ in spans:
        place = torch.arange(stop - start, dtype=torch.float64)
        width = stop - start
        gaussians.append((-((place - (width - 1) / 2) ** 2) / width**2 / (2 * 0.01)).exp())
        total[start:stop] += gaussians[-1]
    for (start, stop, weight), gaussian in zip(spans, gaussians, strict=True):
        torch.testing.assert_close(weight, gaussian / total[start:stop])


def test_number_of_tiles_is_the_least_possible():
    assert tile_starts(1000, 256, 32) == [0, 186, 372, 558, 744]
    assert tile_starts(480, 256, 32) == [0, 224]
    assert tile_starts(481, 256, 32) == [0, 112, 225]


@pytest.mark.parametrize("size", [(90, 121), (20, 100)])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_local_function_is_exact_even_on_seams_within_a_quarter_of_the_overlap(size, batch_size):
    image = random_image(2, 3, *size, dtype=torch.float64)
    output = tiled_apply(blur(4), image, tile=40, overlap=16, batch_size=batch_size)
    torch.testing.assert_close(output, blur(4)(image), rtol=0, atol=1e-12)


def test_local_function_is_exact_away_from_seams_within_half_the_overlap():
    image = random_image(1, 3, 64, 112, dtype=torch.float64)
    error = (tiled_apply(blur(7), image, tile=64, overlap=16) - blur(7)(image)).abs().amax(dim=(0, 1, 2))
    seam = (tile_starts(112, 64, 16)[1] + 64) // 2
    assert error[seam - 8 : seam + 8].max() > 1e-6
    error[seam - 8 : seam + 8] = 0
    assert error.max() < 1e-12


def downsampling_network(x):
    """Commutes with shifts by 8 only; pads at the bottom and right like a U-Net does."""
    h, w = x.shape[-2:]
    padded = F.pad(x, (0, -w % 8, 0, -h % 8))
    coarse = F.interpolate(F.avg_pool2d(padded, 8), scale_factor=8.0, mode="nearest")
    return coarse[..., :h, :w]


def test_multiple_keeps_the_phase_of_a_downsampling_network():
    image = random_image(1, 3, 101, 75, dtype=torch.float64)
    whole = downsampling_network(image)
    aligned = tiled_apply(downsampling_network, image, tile=48, overlap=16, multiple=8)
    torch.testing.assert_close(aligned, whole, rtol=0, atol=1e-12)
    assert (tiled_apply(downsampling_network, image, tile=48, overlap=16) - whole).abs().max() > 0.01


@pytest.mark.parametrize("tile", [None, 64, 200])
def test_image_within_one_tile_is_one_call(tile):
    shapes, calls = [], []
    image = random_image(2, 3, 64, 50)
    output = tiled_apply(lambda x: shapes.append(x.shape) or x / 2, image, tile, callback=lambda *c: calls.append(c))
    assert shapes == [image.shape]
    assert calls == [(1, 1)]
    torch.testing.assert_close(output, image / 2)


def test_batches_hold_whole_tiles_of_all_images_and_progress_is_counted():
    image = torch.stack([torch.full((3, 50, 90), v) for v in (0.25, 0.75)])
    scale = torch.tensor([2.0, 4.0])
    sizes, calls = [], []

    def fn(tiles):
        sizes.append(len(tiles))
        return tiles * scale.repeat(len(tiles) // 2)[:, None, None, None]

    output = tiled_apply(fn, image, tile=40, overlap=10, batch_size=4, callback=lambda *c: calls.append(c))
    torch.testing.assert_close(output, image * scale[:, None, None, None])
    assert sizes == [8, 4]
    assert calls == [(4, 6), (6, 6)]


@pytest.mark.parametrize(("dtype", "expected"), [(torch.float16, torch.float32), (torch.float64, torch.float64)])
def test_accumulates_in_float32_or_better(dtype, expected):
    image = random_image(1, 3, 50, 50).to(dtype)
    output = tiled_apply(lambda x: x, image, tile=32, overlap=8)
    assert output.dtype == expected
    torch.testing.assert_close(output, image.to(expected), rtol=0, atol=1e-6)


def test_no_graph_is_kept():
    weight = torch.ones(1, requires_grad=True)
    assert not tiled_apply(lambda x: x * weight, random_image(1, 3, 50, 50), tile=32, overlap=8).requires_grad


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_tiles_are_moved_to_the_device_and_back():
    devices = set()
    image = random_image(1, 3, 50, 50)
    output = tiled_apply(lambda x: devices.add(x.device.type) or x, image, tile=32, overlap=8, device="cuda")
    assert devices == {"cuda"}
    assert output.device == image.device


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(tile=32, overlap=32), "tile of at least 33"),
        (dict(tile=32, overlap=40), "overlap of at most 31"),
        (dict(tile=32, overlap=20, multiple=16), "advance by at least 16"),
        (dict(tile=0), "tile=0"),
        (dict(overlap=-1), "must not be negative"),
        (dict(batch_size=0), "at least one tile"),
    ],
)
def test_impossible_tilings_are_explained(options, message):
    with pytest.raises(ConfigError, match=message):
        tiled_apply(lambda x: x, random_image(1, 3, 20, 20), **options)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="floating-point image"):
        tiled_apply(lambda x: x, torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="changed the shape"):
        tiled_apply(lambda x: x[..., ::2, ::2], random_image(1, 3, 50, 50), tile=32, overlap=8)


MEMORY_PROBE = """
import resource, torch
from dtir.imaging.tiling import tiled_apply
torch.set_num_threads(1)
image = torch.rand(1, 3, 3000, 4000)
tiled_apply(lambda x: x, image[..., :600, :600], tile=256)
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before = peak()
tiled_apply(lambda x: x, image, tile=256, overlap=32)
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read in Linux units")
def test_peak_memory_is_one_output_image_on_4000x3000():
    result = subprocess.run([sys.executable, "-c", MEMORY_PROBE], capture_output=True, text=True, check=True)
    output_mib = 3 * 3000 * 4000 * 4 / 2**20
    assert float(result.stdout) < output_mib + 24
