"""The ten degradations: their contract, what is exactly known of each, and how hard they are."""

import cv2
import numpy as np
import pytest

from dtir.core.assets import ASSETS
from dtir.datasets.degradations import TASK_DEGRADATIONS, Degradation
from dtir.datasets.degradations.base import line_kernel, scatter
from dtir.datasets.degradations.occlusion import InpaintingMask, Shadow
from dtir.datasets.degradations.optics import JPEGCompression, MotionBlur
from dtir.datasets.degradations.weather import Haze
from dtir.imaging.fields import fractal_field, smooth_field
from dtir.imaging.files import read_rgb
from dtir.imaging.haze import scatter_light
from dtir.registry import DEGRADATIONS
from dtir.tasks import TASKS

# Mean PSNR of real degraded pictures, on other scenes than the shipped photographs. Equal scenes are compared in
# tests/test_tools/test_degradation_sheet.py, where the real pairs are at hand.
REAL_PSNR = {
    "motion-blurry": 21.7,
    "hazy": 13.3,
    "jpeg-compressed": 25.1,
    "low-light": 7.8,
    "noisy": 14.9,
    "raindrop": 18.2,
    "rainy": 11.8,
    "shadowed": 20.9,
    "snowy": 14.3,
    "inpainting": 10.2,
}


def build(task: str) -> Degradation:
    return DEGRADATIONS.build({"type": TASK_DEGRADATIONS[task]})


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    folder = ASSETS / "photos"
    paths = sorted(p for p in folder.iterdir() if p.suffix in (".png", ".jpg"))
    return [read_rgb(path).astype(np.float32) / 255 for path in paths]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(-10 * np.log10(max(np.square(a - b).mean(), 1e-10)))


def picture(height: int = 40, width: int = 56) -> np.ndarray:
    rng = np.random.default_rng(1)
    return cv2.GaussianBlur(rng.random((height, width, 3), np.float32), (0, 0), 2)


def test_every_task_has_its_degradation():
    assert tuple(TASK_DEGRADATIONS) == TASKS


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (23, 3), (40, 56)])
def test_contract(task, shape):
    image = picture(*shape)
    before = image.copy()
    degrade = build(task)
    out = degrade(image, np.random.default_rng(5), 0.6)
    assert out.shape == image.shape
    assert out.dtype == np.float32
    assert out.min() >= 0
    assert out.max() <= 1
    assert np.array_equal(image, before)
    assert np.array_equal(out, degrade(image, np.random.default_rng(5), 0.6))


@pytest.mark.parametrize("task", TASKS)
def test_other_draws_differ(task):
    image = picture(256, 256)
    draws = [build(task)(image, np.random.default_rng(seed), 0.6) for seed in range(4)]
    same = [np.array_equal(draws[0], other) for other in draws[1:]]
    assert all(same) if task == "jpeg-compressed" else not any(same)


@pytest.mark.parametrize("task", TASKS)
def test_severity_lowers_the_psnr(task, photos):
    degrade = build(task)
    means = [
        np.mean(
            [
                psnr(degrade(p[:160, :160], np.random.default_rng(s), severity), p[:160, :160])
                for p in photos
                for s in range(3)
            ]
        )
        for severity in (0.1, 0.4, 0.7, 1.0)
    ]
    assert means[0] > means[1] > means[2] > means[3]


@pytest.mark.parametrize("task", TASKS)
def test_typical_difficulty_is_that_of_real_pictures(task, photos):
    degrade = build(task)
    values = []
    for number, photo in enumerate(photos):
        for repeat in range(4):
            rng = np.random.default_rng((number, repeat))
            values.append(psnr(degrade(photo, rng, rng.uniform(*degrade.severity)), photo))
    assert abs(np.mean(values) - REAL_PSNR[task]) < 1.5


@pytest.mark.parametrize("task", TASKS)
def test_a_degraded_crop_is_like_a_crop_of_a_degraded_picture(task):
    degrade = build(task)
    image = cv2.resize(picture(64, 64), (320, 320), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    whole, crops = [], []
    for seed in range(60):
        rng = np.random.default_rng((7, seed))
        damaged = degrade(image, rng, 0.5)
        y, x = rng.integers(0, 320 - 96, 2)
        inner = (slice(y, y + 96), slice(x, x + 96))
        whole.append(np.abs(damaged[inner] - image[inner]).mean())
        margin = degrade.margin
        outer = tuple(slice(max(0, s.start - margin), s.stop + margin) for s in inner)
        part = degrade(np.ascontiguousarray(image[outer]), rng, 0.5)
        top, left = inner[0].start - outer[0].start, inner[1].start - outer[1].start
        crops.append(np.abs(part[top : top + 96, left : left + 96] - image[inner]).mean())
    spread = np.hypot(np.std(whole), np.std(crops)) / np.sqrt(60)
    assert abs(np.mean(whole) - np.mean(crops)) < 4 * spread + 1e-3


def test_noise_has_its_sigma():
    out = build("noisy")(np.full((200, 200, 3), 0.5, np.float32), np.random.default_rng(0), 0.2)
    assert np.std(out) == pytest.approx(20 / 255, rel=0.01)
    assert np.mean(out) == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("extent", [0, 1, 7.5, 32])
def test_blur_kernel_sums_to_one_and_keeps_flat_pictures(extent):
    blur = MotionBlur()
    psf = blur.psf(np.random.default_rng(3), extent)
    assert psf.sum() == pytest.approx(1, abs=1e-5)
    assert psf.min() >= 0
    assert psf.shape[0] // 2 <= blur.max_radius + 1
    flat = np.full((30, 30, 3), 0.3, np.float32)
    np.testing.assert_allclose(blur(flat, np.random.default_rng(3), extent / MotionBlur.longest), flat, atol=1e-5)


def test_blur_is_linear_in_light():
    image = picture()
    psf = MotionBlur().psf(np.random.default_rng(2), MotionBlur.longest / 2)
    expected = cv2.filter2D(image**2.2, -1, psf, borderType=cv2.BORDER_REFLECT_101) ** (1 / 2.2)
    np.testing.assert_allclose(MotionBlur()(image, np.random.default_rng(2), 0.5), expected, atol=1e-5)


def test_haze_is_koschmieders_law():
    image = picture()
    airlight = np.array([0.8, 0.85, 0.9])
    hazy = scatter_light(image, np.full(image.shape[:2], 2.0, np.float32), 0.7, airlight)
    np.testing.assert_allclose(hazy, image * np.exp(-1.4) + airlight * (1 - np.exp(-1.4)), atol=1e-6)
    assert np.array_equal(scatter_light(image, np.zeros(image.shape[:2]), 0.7, airlight), image)
    assert Haze().depth((300, 40), np.random.default_rng(0)).min() > 0


def test_jpeg_is_one_round_of_the_codec():
    image = picture()
    pixels = np.rint(image * 255).astype(np.uint8)[..., ::-1]
    _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 10])
    expected = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1] / 255
    np.testing.assert_allclose(JPEGCompression()(image, np.random.default_rng(0), 0.5), expected, atol=1e-6)
    assert [JPEGCompression().quality(s) for s in (0, 0.5, 1)] == [40, 10, 2]


def test_inpainting_is_white_in_the_mask_and_untouched_elsewhere():
    image = picture(90, 70) * 0.9
    mask = InpaintingMask().mask(image.shape[:2], np.random.default_rng(4), 0.5)
    out = InpaintingMask()(image, np.random.default_rng(4), 0.5)
    assert 0.05 < mask.mean() < 0.95
    assert (out[mask] == 1).all()
    assert np.array_equal(out[~mask], image[~mask])


def test_small_crops_usually_hold_the_edge_of_a_shadow():
    masks = [Shadow().mask((64, 64), np.random.default_rng(seed)) for seed in range(200)]
    assert np.mean([mask.min() == 0 and mask.max() > 0 for mask in masks]) > 0.55
    assert 0.2 < np.mean(masks) < 0.4


def test_rain_adds_grey_light_and_takes_none():
    image = np.full((200, 200, 3), (0.1, 0.2, 0.3), np.float32)
    added = build("rainy")(image, np.random.default_rng(0), 0.5) - image
    inside = added[(image + added < 1).all(-1)]
    assert inside.min() >= 0
    np.testing.assert_allclose(inside, inside[:, :1].repeat(3, 1), atol=1e-6)
    assert 0.1 < added.mean() < 0.5


def test_low_light_noise_grows_with_the_root_of_the_light():
    def noise(level: float) -> float:
        flat = np.full((200, 200, 3), level, np.float32)
        out = build("low-light")(flat, np.random.default_rng(0), 0.2) ** 2.2
        return np.mean(out.std((0, 1)) / np.sqrt(out.mean((0, 1))))

    assert noise(0.9) == pytest.approx(noise(0.5), rel=0.1)


def test_shadow_leaves_the_light_untouched_and_dims_red_most():
    image = np.full((200, 200, 3), 0.6, np.float32)
    mask = Shadow().mask(image.shape[:2], np.random.default_rng(6))
    out = Shadow()(image, np.random.default_rng(6), 0.5)
    assert 0.05 < (mask == 1).mean() < 0.95
    assert np.array_equal(out[mask == 0], image[mask == 0])
    core = out[mask == 1].mean(0)
    assert core[0] < core[1] < core[2] < 0.6
    assert ((mask > 0) & (mask < 1)).any()


def test_drops_change_only_what_they_cover():
    image = picture(120, 120)
    out = build("raindrop")(image, np.random.default_rng(1), 0.3)
    changed = (np.abs(out - image) > 1e-6).any(-1).mean()
    assert 0.02 < changed < 0.9


def test_fields_have_unit_variance_and_their_wavelength():
    values = [smooth_field((64, 64), np.random.default_rng(s), 40.0) for s in range(300)]
    assert np.mean(values) == pytest.approx(0, abs=0.1)
    assert np.var(values) == pytest.approx(1, abs=0.15)
    steps = [np.abs(np.diff(field, axis=1)).mean() for field in values]
    assert np.mean(steps) < 0.1
    assert np.var([fractal_field((64, 64), np.random.default_rng(s), 40.0, 3) for s in range(300)]) == pytest.approx(
        1, abs=0.15
    )


def test_scattered_kernels_cover_their_share():
    kernel = line_kernel(9, 0.4, 1.5)
    assert kernel.max() == pytest.approx(1, abs=0.05)
    assert kernel.shape[0] % 2 == 1
    layers = [scatter((80, 80), np.random.default_rng(s), 1e-3, kernel) for s in range(200)]
    assert np.mean(layers) == pytest.approx(1e-3 * 0.65 * kernel.sum(), rel=0.1)
