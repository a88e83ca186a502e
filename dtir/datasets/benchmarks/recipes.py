"""Pictures that a benchmark derives from its clean ones: JPEG, noise, masks. Lossless PNG, the same bytes each time."""

import zlib
from collections.abc import Callable

import cv2
import numpy as np

from dtir.core.errors import ImageFileError
from dtir.datasets.degradations.base import Degradation
from dtir.datasets.degradations.optics import GaussianNoise, JPEGCompression
from dtir.imaging.quick import decode_rgb

FACE_SIZE = 256

Recipe = Callable[[np.ndarray, str, np.ndarray | None], np.ndarray]


def seed_of(name: str) -> int:
    """The seed of whatever is random in the picture of that name, the same on every machine and in any order."""
    return zlib.crc32(name.encode())


def _degraded(degradation: Degradation) -> Recipe:
    # Severity 0.5 is the benchmark's: quality 10, sigma 50.
    def apply(rgb: np.ndarray, name: str, mask: np.ndarray | None) -> np.ndarray:
        image = rgb.astype(np.float32) / np.float32(255)
        damaged = degradation(image, np.random.default_rng(seed_of(name)), 0.5)
        return np.rint(damaged * 255).astype(np.uint8)

    return apply


def fit_face(rgb: np.ndarray, name: str, mask: np.ndarray | None) -> np.ndarray:
    """Scales a picture to 256x256, the size of the benchmark, by area."""
    return rgb if rgb.shape[:2] == (FACE_SIZE,) * 2 else cv2.resize(rgb, (FACE_SIZE,) * 2, interpolation=cv2.INTER_AREA)


def fit_mask(rgb: np.ndarray, name: str, mask: np.ndarray) -> np.ndarray:
    """The mask at that size: (256, 256, 3), 255 where the picture is kept, else 0."""
    return np.where(cv2.resize(mask, (FACE_SIZE,) * 2, interpolation=cv2.INTER_NEAREST) > 127, 255, 0).astype(np.uint8)


def fill_white(rgb: np.ndarray, name: str, mask: np.ndarray) -> np.ndarray:
    """The picture at that size, white where the mask is 0."""
    return np.where(fit_mask(rgb, name, mask) > 0, fit_face(rgb, name, None), 255).astype(np.uint8)


# By recipe, what is made of a clean picture: folder -> how; None leaves the file as it is.
RECIPES: dict[str, dict[str, Recipe | None]] = {
    "jpeg10": {"LQ": _degraded(JPEGCompression()), "GT": None},
    "noise50": {"LQ": _degraded(GaussianNoise()), "GT": None},
    "inpainting": {"LQ": fill_white, "GT": fit_face, "mask": fit_mask},
}


def decode(data: bytes, origin: str) -> np.ndarray:
    """Decodes a source picture to uint8 (H, W, 3) RGB: the same as what is read from its file later, as the GT.

    Raises:
        ImageFileError: It is empty, damaged, or no picture.
    """
    if not data:
        raise ImageFileError(f"'{origin}' is empty (0 bytes): download it again.")
    return decode_rgb(data, origin)


def encode(rgb: np.ndarray) -> bytes:
    """Encodes uint8 (H, W, 3) RGB as PNG."""
    return cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes()
