"""Motion blur as the benchmarks of it are made: the mean of a video's frames."""

import cv2
import numpy as np

from dtir.imaging.fields import fractal_field
from dtir.registry import DEGRADATIONS

from .camera import SceneBlur


@DEGRADATIONS.register_module()
class VideoBlur(SceneBlur):
    """The mean of consecutive frames of a moving camera, of which the clean picture is the middle one.

    GoPro (Nah et al., CVPR 2017), HIDE and REDS are made so, and of display values: their means stay, while those of
    linear light, which a single long exposure adds up, would not. The camera shifts and turns, near and far pass by at
    different speeds, objects move by themselves, and fast motion shows the frames one beside the other.
    """

    margin = 32
    longest = 40.0

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Averages frames over which the camera shifts by up to `longest` x severity pixels."""
        extent = self.longest * severity
        behind = self._mean_of_frames(image, rng, extent)
        return self._with_object(image, behind, rng, extent) if rng.random() < 0.4 else behind

    def _mean_of_frames(self, image: np.ndarray, rng: np.random.Generator, extent: float) -> np.ndarray:
        height, width = image.shape[:2]
        nearness = np.clip(0.5 + fractal_field((height, width), rng, 150, 2), 0, 1)
        farthest = rng.uniform(0.2, 1.0)
        speed = np.float32(farthest) + np.float32(1 - farthest) * nearness.astype(np.float32)
        y, x = np.mgrid[:height, :width].astype(np.float32)
        # The axis of the turn may be anywhere in a picture of which this is a crop.
        across, down = x - np.float32(rng.uniform(-600, 600)), y - np.float32(rng.uniform(-400, 400))
        total = np.zeros_like(image)
        path = self._path(rng, extent)
        for right, below, turn in path.astype(np.float32):
            columns, rows = x + speed * right - turn * down, y + speed * below + turn * across
            total += cv2.remap(image, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        return total / np.float32(len(path))

    @staticmethod
    def _path(rng: np.random.Generator, extent: float) -> np.ndarray:
        """Shifts to the right and down in pixels and turns in radians of each frame, 0 for the middle one; (N, 3)."""
        time = np.linspace(-0.5, 0.5, 2 * rng.integers(3, 8) + 1)
        angle = rng.uniform(0, 2 * np.pi)
        along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
        # Speed and direction change by as much as they are at most.
        faster, bend = rng.uniform(-0.5, 0.5), rng.normal(0, 0.4)
        shift = (time + faster * time**2)[:, None] * along + (bend * time**2)[:, None] * across
        return np.column_stack([extent * shift, time * extent * rng.normal(0, 5e-4)])
