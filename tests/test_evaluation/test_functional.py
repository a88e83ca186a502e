import json

import numpy as np
import pytest
import torch
from conftest import parity_dir

from dtir.evaluation.metrics.functional import psnr, rgb_to_y, ssim, ssim_3d, to_8_bit
from dtir.evaluation.protocols import PROTOCOLS, get_protocol
from dtir.utils.errors import ConfigError


@pytest.fixture(scope="module")
def published():
    arrays = np.load(parity_dir() / "metrics.npz")
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
    "nafnet_y": {"psnr": ["nafnet"], "ssim": ["nafnet"], "key": "crop0_y"},
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


def test_skimage_and_luma(published):
    (a, b), values, arrays = published
    assert psnr(a, b).item() == pytest.approx(values["skimage_psnr_rgb01"], abs=1e-5)
    assert ssim(a, b).item() == pytest.approx(values["skimage_ssim_rgb01_gauss11"], abs=1e-6)
    np.testing.assert_allclose(rgb_to_y(a)[0, 0].numpy(), arrays["bgr2ycbcr_f32_y"], atol=1e-5)


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


def test_psnr_closed_form_and_equality():
    a = torch.full((1, 3, 4, 4), 0.5)
    assert psnr(a, a + 0.1).item() == pytest.approx(20, abs=1e-5)
    assert psnr(a, a).item() == float("inf")
    assert ssim(torch.rand(1, 1, 12, 12).repeat(1, 3, 1, 1), torch.zeros(1, 3, 12, 12)).item() < 1


def test_rounding_and_small_pictures():
    assert to_8_bit(torch.tensor([-1.0, 0.5 / 255 + 1e-6, 2.0])).tolist() == [0, 1 / 255, 1]
    for function in (ssim, ssim_3d):
        with pytest.raises(ValueError, match="at least 11x11 pixels after the border is cropped, got 10x12"):
            function(torch.rand(1, 3, 10, 12), torch.rand(1, 3, 10, 12))
    with pytest.raises(ValueError, match="crops 4 pixels from every border; 8x30 is too small"):
        PROTOCOLS["rgb_crop4"].prepare(torch.rand(1, 3, 8, 30))


def test_unknown_protocol_names_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown measuring protocol 'rgb_crop'. Did you mean 'rgb_crop4'"):
        get_protocol("rgb_crop")
