import json

import numpy as np
import pytest
import torch

from dtir.core.errors import ConfigError
from dtir.evaluation.metrics.functional import (
    mae,
    psnr,
    rgb_to_y,
    rgb_to_ycbcr,
    ssim,
    ssim_3d,
    ssim_downsampled,
    ssim_uniform,
    to_8_bit,
)
from dtir.evaluation.metrics.protocols import PROTOCOLS, get_protocol


@pytest.fixture(scope="module")
def published(parity_dir):
    arrays = np.load(parity_dir / "metrics.npz")
    pictures = [
        torch.from_numpy(arrays[name][..., ::-1].copy()).permute(2, 0, 1)[None] / 255 for name in ("img", "img2")
    ]
    return pictures, json.loads(str(arrays["meta"]))["values"], arrays


# What is measured, by protocol, and the published values that it must equal.
CASES = {
    "rgb": {"psnr": ["basicsr", "nafnet", "irsde"], "ssim": ["basicsr", "irsde"], "key": "crop0_rgb"},
    "rgb_crop4": {"psnr": ["basicsr", "nafnet", "irsde"], "ssim": ["basicsr", "irsde"], "key": "crop4_rgb"},
    "y": {"psnr": ["basicsr", "nafnet", "irsde"], "ssim": ["basicsr", "irsde"], "key": "crop0_y"},
    "y_crop4": {"psnr": ["basicsr", "nafnet", "irsde"], "ssim": ["basicsr", "irsde"], "key": "crop4_y"},
    "nafnet": {"psnr": ["nafnet"], "ssim": ["nafnet"], "key": "crop0_rgb"},
    "nafnet_crop4": {"psnr": ["nafnet"], "ssim": ["nafnet"], "key": "crop4_rgb"},
    "nafnet_y": {"psnr": ["nafnet"], "ssim": ["nafnet"], "key": "crop0_y"},
    "nafnet_y_crop4": {"psnr": ["nafnet"], "ssim": ["nafnet"], "key": "crop4_y"},
}


@pytest.mark.parametrize("name", CASES)
def test_protocols_equal_published_code(published, name):
    pictures, values, _ = published
    protocol, case = PROTOCOLS[name], CASES[name]
    a, b = (protocol.prepare(picture) for picture in pictures)
    for source in case["psnr"]:
        assert psnr(a, b).item() == pytest.approx(values[f"{source}_psnr_{case['key']}"], abs=1e-5)
    for source in case["ssim"]:
        assert protocol.ssim(a, b).item() == pytest.approx(values[f"{source}_ssim_{case['key']}"], abs=1e-5)


def test_skimage_protocol_and_plain_ssim(published):
    pictures, values, _ = published
    a, b = (PROTOCOLS["skimage"].prepare(picture) for picture in pictures)
    assert psnr(a, b).item() == pytest.approx(values["skimage_psnr_rgb01"], abs=1e-5)
    assert ssim_uniform(a, b).item() == pytest.approx(values["skimage_ssim_rgb01_uniform7"], abs=1e-6)
    assert ssim(a, b).item() == pytest.approx(values["skimage_ssim_rgb01_gauss11"], abs=1e-6)
    assert ssim(*pictures).item() == pytest.approx(values["nafnet_ssim3dFalse_crop0_rgb"], abs=1e-6)


@pytest.mark.parametrize("crop", [0, 4])
@pytest.mark.parametrize("luma", [False, True])
def test_basicsr_tensor_code(published, crop, luma):
    pictures, values, _ = published
    height, width = pictures[0].shape[-2:]
    a, b = (picture[..., crop : height - crop, crop : width - crop] for picture in pictures)
    if luma:
        a, b = rgb_to_y(a), rgb_to_y(b)
    key = f"pt_crop{crop}_{'y' if luma else 'rgb'}"
    assert psnr(a, b, eps=1e-8).item() == pytest.approx(values[f"basicsr_psnr_{key}"], abs=1e-6)
    assert ssim(a, b).item() == pytest.approx(values[f"basicsr_ssim_{key}"], abs=1e-6)


def test_colour_conversions(published):
    (a, _), _, arrays = published
    ycbcr = rgb_to_ycbcr(a)[0].permute(1, 2, 0).numpy() * 255
    np.testing.assert_array_equal(ycbcr.round(), arrays["bgr2ycbcr"])
    np.testing.assert_allclose(ycbcr[..., 0] / 255, arrays["bgr2ycbcr_f32_y"], atol=1e-6)
    np.testing.assert_allclose(ycbcr[..., :1], arrays["to_y_channel"], atol=1e-4)
    np.testing.assert_array_equal(
        (rgb_to_ycbcr(a.flip(1))[0].permute(1, 2, 0).numpy() * 255).round(), arrays["rgb2ycbcr"]
    )
    rounded = PROTOCOLS["y_8bit"].prepare(a)[0, 0].numpy() * 255
    np.testing.assert_allclose(rounded, arrays["bgr2ycbcr_y"], atol=1e-9)


def slow_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """SSIM of one channel, window by window."""
    x = np.arange(11) - 5
    g = np.exp(-(x[:, None] ** 2 + x[None] ** 2) / (2 * 1.5**2))
    g /= g.sum()
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    values = []
    for i in range(a.shape[0] - 10):
        for j in range(a.shape[1] - 10):
            p, q = a[i : i + 11, j : j + 11], b[i : i + 11, j : j + 11]
            mp, mq = (g * p).sum(), (g * q).sum()
            vp, vq = (g * (p - mp) ** 2).sum(), (g * (q - mq) ** 2).sum()
            cov = (g * (p - mp) * (q - mq)).sum()
            values.append((2 * mp * mq + c1) * (2 * cov + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(np.mean(values))


def test_ssim_equals_a_loop_over_windows_and_batches():
    rng = np.random.default_rng(0)
    a = rng.random((2, 3, 16, 19))
    b = np.clip(a + rng.normal(0, 0.1, a.shape), 0, 1)
    got = ssim(torch.from_numpy(a), torch.from_numpy(b))
    for k in range(2):
        expected = np.mean([slow_ssim(a[k, c] * 255, b[k, c] * 255) for c in range(3)])
        assert got[k].item() == pytest.approx(expected, abs=1e-10)
        single = ssim(torch.from_numpy(a[k : k + 1]), torch.from_numpy(b[k : k + 1]))
        torch.testing.assert_close(single[0], got[k])


def test_ssim_uniform_equals_a_loop_over_windows():
    rng = np.random.default_rng(1)
    a = rng.random((9, 11)) * 255
    b = np.clip(a + rng.normal(0, 30, a.shape), 0, 255)
    values = []
    for i, j in np.ndindex(3, 5):
        p, q = a[i : i + 7, j : j + 7].ravel(), b[i : i + 7, j : j + 7].ravel()
        (vp, cov), (_, vq) = np.cov(p, q)
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        mean_p, mean_q = p.mean(), q.mean()
        luminance = (2 * mean_p * mean_q + c1) / (mean_p**2 + mean_q**2 + c1)
        values.append(luminance * (2 * cov + c2) / (vp + vq + c2))
    got = ssim_uniform(*(torch.from_numpy(x / 255)[None, None] for x in (a, b)))
    assert got.item() == pytest.approx(np.mean(values), abs=1e-10)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_batch_of_the_published_pictures(published, name, device):
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU")
    pictures, values, _ = published
    protocol, case = PROTOCOLS[name], CASES[name]
    a, b = (protocol.prepare(torch.cat(order).to(device)) for order in (pictures, pictures[::-1]))
    expected = [values[f"{case['ssim'][0]}_ssim_{case['key']}"]] * 2
    assert protocol.ssim(a, b).tolist() == pytest.approx(expected, abs=1e-5)
    assert psnr(a, b).tolist() == pytest.approx([values[f"{case['psnr'][0]}_psnr_{case['key']}"]] * 2, abs=1e-5)


def pooling(side: int, ratio: int) -> np.ndarray:
    """(side // ratio, side): cells from floor to ceil of even steps."""
    count = side // ratio
    matrix = np.zeros((count, side))
    for k in range(count):
        start, end = k * side // count, -(-(k + 1) * side // count)
        matrix[k, start:end] = 1 / (end - start)
    return matrix


@pytest.mark.parametrize(("height", "width", "ratio"), [(383, 900, 1), (385, 391, 2), (641, 700, 3), (640, 700, 2)])
def test_dehazeformer_pools_before_ssim(height, width, ratio):
    rng = np.random.default_rng(0)
    a = rng.random((1, 1, height, width))
    b = np.clip(a + rng.normal(0, 0.2, a.shape), 0, 1)
    pooled = [pooling(height, ratio) @ x @ pooling(width, ratio).T for x in (a, b)]
    protocol = PROTOCOLS["dehazeformer"]
    got = protocol.ssim(*(protocol.prepare(torch.from_numpy(x)) for x in (a, b)))
    assert got.item() == pytest.approx(ssim(*map(torch.from_numpy, pooled)).item(), abs=1e-9)


def test_batches_are_measured_picture_by_picture():
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 3, 3, 14, 13, generator=generator)
    for function in (psnr, ssim, ssim_3d, ssim_uniform, ssim_downsampled, mae):
        singles = torch.cat([function(a[k : k + 1], b[k : k + 1]) for k in range(3)])
        torch.testing.assert_close(function(a, b), singles, rtol=0, atol=1e-12)


def test_pictures_of_different_shapes_are_refused():
    for function in (psnr, ssim, ssim_3d, ssim_uniform, ssim_downsampled, mae):
        with pytest.raises(ValueError, match=r"one shape, got \(1, 3, 12, 12\), \(1, 1, 12, 12\)"):
            function(torch.rand(1, 3, 12, 12), torch.rand(1, 1, 12, 12))


def test_which_protocols_round():
    picture = torch.full((1, 3, 12, 12), 100.4 / 255)
    assert PROTOCOLS["rgb"].prepare(picture).unique().item() == pytest.approx(100 / 255, abs=1e-12)
    for name in ("skimage", "dehazeformer"):
        assert PROTOCOLS[name].prepare(picture).unique().item() == pytest.approx(100.4 / 255, abs=1e-7)
    luma = PROTOCOLS["y"].prepare(picture).unique().item() * 255
    assert luma == pytest.approx(16 + 219 * 100 / 255, abs=1e-9)
    assert PROTOCOLS["y_8bit"].prepare(picture).unique().item() * 255 == pytest.approx(round(luma), abs=1e-9)
    for protocol in PROTOCOLS.values():
        assert protocol.prepare(picture * 9).max() <= 1


def test_psnr_closed_form_and_equality():
    a = torch.full((1, 3, 4, 4), 0.5)
    assert psnr(a, a + 0.1).item() == pytest.approx(20, abs=1e-5)
    assert psnr(a, a).item() == float("inf")
    assert psnr(a, a, eps=1e-8).item() == pytest.approx(80, abs=1e-9)
    for function in (ssim, ssim_3d, ssim_uniform):
        flat = torch.full((1, 3, 12, 12), 0.5)
        assert function(flat, flat).item() == pytest.approx(1, abs=1e-12)
        # Flat pictures: only the luminance term is left.
        expected = (2 * 127.5 * 51 + 6.5025) / (127.5**2 + 51**2 + 6.5025)
        assert function(flat, torch.full_like(flat, 0.2)).item() == pytest.approx(expected, abs=1e-6)


def test_mae_closed_form():
    a = torch.full((2, 3, 4, 4), 0.5)
    b = a.clone()
    b[0, 0], b[1] = 0.2, 0.6
    torch.testing.assert_close(mae(a, b), torch.tensor([0.1, 0.1]).double(), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rgb", "RGB rounded to 8 bits, whole picture"),
        ("y_8bit_crop4", "RGB rounded to 8 bits, BT.601 luma rounded to 8 bits, 4 px cut from every border"),
        ("skimage", "RGB not rounded, whole picture"),
    ],
)
def test_protocols_say_what_they_compare(name, words):
    assert PROTOCOLS[name].describe() == words


def test_rounding_and_small_pictures():
    assert to_8_bit(torch.tensor([-1.0, 0.5 / 255 + 1e-6, 2.0])).tolist() == [0, 1 / 255, 1]
    for function in (ssim, ssim_3d):
        with pytest.raises(ValueError, match="at least 11x11 pixels after the border is cropped, got 10x12"):
            function(torch.rand(1, 3, 10, 12), torch.rand(1, 3, 10, 12))
    with pytest.raises(ValueError, match="at least 7x7 pixels after the border is cropped, got 6x12"):
        ssim_uniform(torch.rand(1, 3, 6, 12), torch.rand(1, 3, 6, 12))
    with pytest.raises(ValueError, match="crops 4 pixels from every border; 8x30 is too small"):
        PROTOCOLS["rgb_crop4"].prepare(torch.rand(1, 3, 8, 30))


def test_unknown_protocol_names_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown measuring protocol 'rgb_crop'. Did you mean 'rgb_crop4'"):
        get_protocol("rgb_crop")
