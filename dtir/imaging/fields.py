"""Random fields that do not know the size of the picture."""

import cv2
import numpy as np


def smooth_field(shape: tuple[int, int], rng: np.random.Generator, wavelength: float) -> np.ndarray:
    """A smooth Gaussian random field (H, W) of about zero mean and unit variance.

    Args:
        shape: Height and width.
        rng: Source of randomness.
        wavelength: Distance in pixels of the independent values that are interpolated.
    """
    height, width = shape
    grid = rng.standard_normal((int(height / wavelength) + 5, int(width / wavelength) + 5)).astype(np.float32)
    row, column = rng.uniform(1, 2, 2)
    window = np.array([[1 / wavelength, 0, column], [0, 1 / wavelength, row]])
    field = cv2.warpAffine(grid, window, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    # The mean over all positions of the squared weights of OpenCV's cubic interpolation is 1 / 1.166 in each plane.
    return np.float32(1.166) * field


def fractal_field(shape: tuple[int, int], rng: np.random.Generator, wavelength: float, octaves: int) -> np.ndarray:
    """Smooth fields of halving wavelengths and amplitudes, summed; (H, W), about zero mean and unit variance."""
    weights = 0.5 ** np.arange(octaves)
    fields = [w * smooth_field(shape, rng, wavelength * w) for w in weights]
    return np.sum(fields, axis=0) / np.linalg.norm(weights)
