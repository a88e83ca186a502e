"""What the degradations share: their contract, and light."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import cv2
import numpy as np

from dtir.core.errors import DatasetError
from dtir.datasets.damages import Part

GAMMA = 2.2


class Degradation(ABC):
    """A physical model of damage, deterministic in the generator that it is given.

    All lengths are in pixels of the picture, and large structures live on an endless canvas of which the picture sees a
    random window. A crop that is degraded is therefore distributed like a crop of a degraded picture.

    Attributes:
        severity: Range that a severity is drawn from by default; 0.5 is the typical real picture.
        margin: Pixels beyond its border that change what a crop should look like.
        task: Name of the task that removes it; None where none does.
    """

    severity: tuple[float, float] = (0.3, 0.7)
    margin: int = 0
    task: str | None = None

    def __call__(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Degrades a picture.

        Args:
            image: float32 (H, W, 3) RGB in [0, 1]; not modified.
            rng: The only source of randomness.
            severity: In [0, 1].

        Returns:
            float32 (H, W, 3) in [0, 1].

        Raises:
            DatasetError: `degrade` gives another shape, or values that are no numbers.
        """
        degraded = np.asarray(self.degrade(image, rng, severity))
        kind = type(self).__name__
        if degraded.shape != image.shape:
            raise DatasetError(
                f"{kind}.degrade gives shape {degraded.shape} for a picture {image.shape}; expected the same."
            )
        clipped = np.clip(degraded, 0, 1).astype(np.float32, copy=False)
        if np.isnan(clipped).any():
            raise DatasetError(f"{kind}.degrade gives NaN at severity {severity:.3g}; expected numbers about [0, 1].")
        return clipped

    def one_by_one(self, rng: np.random.Generator, severity: float) -> Iterator[Part]:
        """The damages that it consists of, in their order; each is to be done before the next is taken.

        That is since they share the random numbers. Done one after another, they are what `__call__` does.
        """
        yield Part(self, severity)

    @abstractmethod
    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """What `__call__` does, not yet clipped."""


def to_linear(image: np.ndarray) -> np.ndarray:
    """Display values to linear light."""
    return np.power(image, GAMMA)


def to_display(light: np.ndarray) -> np.ndarray:
    """Linear light to display values."""
    return np.power(np.maximum(light, 0), 1 / GAMMA)


def line_kernel(length: float, angle: float, width: float = 1.0) -> np.ndarray:
    """An anti-aliased line through the centre of a square kernel; its peak is 1.

    Args:
        length: In pixels.
        angle: In radians, from the vertical.
        width: Standard deviation across the line times two, in pixels.
    """
    radius = int(np.ceil(length / 2 + 2 * width)) + 1
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    along = x * np.sin(angle) + y * np.cos(angle)
    across = x * np.cos(angle) - y * np.sin(angle)
    beyond = np.maximum(np.abs(along) - length / 2, 0)
    return np.exp(-2 * (across**2 + beyond**2) / width**2).astype(np.float32)


def impulses(shape: tuple[int, int], rng: np.random.Generator, density: float, border: int) -> np.ndarray:
    """Randomly placed points of random strength in [0.3, 1], (H + 2 border, W + 2 border); `density` per pixel."""
    height, width = shape[0] + 2 * border, shape[1] + 2 * border
    points = np.zeros((height, width), np.float32)
    number = rng.poisson(density * height * width)
    rows, columns = rng.integers(0, height, number), rng.integers(0, width, number)
    points[rows, columns] = rng.uniform(0.3, 1, number)
    return points


def scatter(shape: tuple[int, int], rng: np.random.Generator, density: float, kernel: np.ndarray) -> np.ndarray:
    """A layer (H, W) in [0, 1] in which every random point is drawn as `kernel`."""
    border = kernel.shape[0] // 2
    drawn = cv2.filter2D(impulses(shape, rng, density, border), -1, kernel, borderType=cv2.BORDER_CONSTANT)
    return np.minimum(drawn[border : border + shape[0], border : border + shape[1]], 1)
