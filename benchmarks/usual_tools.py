"""What one would reach for without a trained network: OpenCV's filters, and dehazing by the dark channel.

Each takes and gives RGB uint8 (H, W, 3). Strengths are the usual defaults, or follow from the picture; none was tuned
to the test pictures.
"""

from collections.abc import Callable

import cv2
import numpy as np


def non_local_means(rgb: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Non-local means, as strong as the noise that is measured in the picture (Immerkaer, 1996)."""
    sigma = noise_level(rgb)
    return cv2.fastNlMeansDenoisingColored(rgb, None, 0.9 * sigma, 0.9 * sigma, 7, 21)


def noise_level(rgb: np.ndarray) -> float:
    """Standard deviation of white noise in steps of 8 bits, from the response to a difference of Laplacians."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = cv2.filter2D(rgb.astype(np.float32), -1, kernel)[1:-1, 1:-1]
    return float(np.sqrt(np.pi / 2) * np.abs(response).mean() / 6) if response.size else 0.0


def bilateral(rgb: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """The bilateral filter with OpenCV's usual arguments for light smoothing."""
    return cv2.bilateralFilter(rgb, 5, 25, 5)


def clahe(rgb: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Contrast-limited adaptive histogram equalisation of the lightness."""
    lab = cv2.cvtColor(rgb, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(clipLimit=4.0, tileGridSize=(8, 8)).apply(lab[..., 0])
    return cv2.cvtColor(lab, cv2.COLOR_LAB2RGB)


def unsharp(rgb: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Unsharp masking."""
    return cv2.addWeighted(rgb, 1.5, cv2.GaussianBlur(rgb, (0, 0), 2), -0.5, 0)


def telea(rgb: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """`cv2.inpaint` (Telea, 2004) where the mask (H, W) is not 255, or else where the picture is white."""
    missing = (rgb.min(-1) >= 254) if mask is None else (mask < 128)
    return cv2.inpaint(rgb, missing.astype(np.uint8), 3, cv2.INPAINT_TELEA)


def dark_channel(rgb: np.ndarray, mask: np.ndarray | None = None) -> np.ndarray:
    """Dehazing by the dark channel prior (He et al., CVPR 2009), refined by a guided filter (He et al., ECCV 2010)."""
    image = rgb.astype(np.float32) / 255
    dark = _darkest(image)
    brightest = np.argsort(dark, axis=None)[-max(1, dark.size // 1000) :]
    airlight = image.reshape(-1, 3)[brightest].mean(0)
    coarse = 1 - 0.95 * _darkest(image / np.maximum(airlight, 1e-3))
    transmission = np.maximum(_guided(image.mean(-1), coarse.astype(np.float32), 40, 1e-3), 0.1)[..., None]
    return np.rint(np.clip((image - airlight) / transmission + airlight, 0, 1) * 255).astype(np.uint8)


def _darkest(image: np.ndarray, side: int = 15) -> np.ndarray:
    return cv2.erode(image.min(-1), np.ones((side, side), np.uint8))


def _guided(guide: np.ndarray, image: np.ndarray, radius: int, eps: float) -> np.ndarray:
    def mean(plane: np.ndarray) -> np.ndarray:
        return cv2.blur(plane, (2 * radius + 1, 2 * radius + 1))

    mean_guide, mean_image = mean(guide), mean(image)
    slope = (mean(guide * image) - mean_guide * mean_image) / (mean(guide * guide) - mean_guide**2 + eps)
    return mean(slope) * guide + mean(mean_image - slope * mean_guide)


USUAL: dict[str, Callable[..., np.ndarray]] = {
    "motion-blurry": unsharp,
    "hazy": dark_channel,
    "jpeg-compressed": bilateral,
    "low-light": clahe,
    "noisy": non_local_means,
    "raindrop": bilateral,
    "rainy": bilateral,
    "shadowed": clahe,
    "snowy": bilateral,
    "inpainting": telea,
}
