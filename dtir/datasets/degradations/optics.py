"""Damage by camera and light: motion blur, low light, noise, JPEG."""

import cv2
import numpy as np

from dtir.registry import DEGRADATIONS

from .base import Degradation, to_display, to_linear


@DEGRADATIONS.register_module()
class MotionBlur(Degradation):
    """Camera shake: light integrated along a trajectory with inertia.

    The point spread function is the trajectory of a damped random walk, drawn with sub-pixel accuracy. Exposure adds
    light, so the blur acts in linear light.
    """

    margin = 24
    severity = (0.2, 0.8)
    task = "motion-blurry"
    longest = 19.0
    max_radius = 24
    steps = 64

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Blurs along a random trajectory of about `longest` x severity pixels."""
        psf = self.psf(rng, self.longest * severity)
        return to_display(cv2.filter2D(to_linear(image), -1, psf, borderType=cv2.BORDER_REFLECT_101))

    def psf(self, rng: np.random.Generator, extent: float) -> np.ndarray:
        """A point spread function (K, K) that sums to 1, of a trajectory `extent` pixels wide at its widest."""
        return trajectory_psf(rng, extent, rng.uniform(0, 2 * np.pi), 0.02, self.steps, self.max_radius)


def trajectory_psf(
    rng: np.random.Generator, extent: float, angle: float, bend: float, steps: int = 64, max_radius: int = 24
) -> np.ndarray:
    """A point spread function (K, K) that sums to 1, of a trajectory with inertia.

    Args:
        rng: Source of randomness.
        extent: Width in pixels at its widest.
        angle: Direction at its start in radians, from the vertical.
        bend: Standard deviation of the change of the turning rate per step in radians; 0 is a straight line.
        steps: Points of the trajectory.
        max_radius: The trajectory stays within so many pixels of the centre.
    """
    turns = np.cumsum(np.cumsum(rng.normal(0, bend, steps)))
    speed = 1 + 0.5 * np.sin(rng.uniform(0, 2 * np.pi) + np.linspace(0, rng.uniform(2, 6), steps))
    heading = angle + turns
    path = np.cumsum(speed * np.stack([np.sin(heading), np.cos(heading)]), axis=1)
    path -= (path.max(1) + path.min(1))[:, None] / 2
    path *= extent / max(np.ptp(path, axis=1).max(), 1e-6)
    return _rasterize(np.clip(path, -max_radius + 1, max_radius - 1))


def _rasterize(path: np.ndarray) -> np.ndarray:
    radius = int(np.ceil(np.abs(path).max())) + 1
    psf = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    position = path + radius
    corner = np.floor(position).astype(int)
    part = position - corner
    for dy in (0, 1):
        for dx in (0, 1):
            weight = np.abs(1 - dy - part[0]) * np.abs(1 - dx - part[1])
            np.add.at(psf, (corner[0] + dy, corner[1] + dx), weight)
    return psf / psf.sum()


@DEGRADATIONS.register_module()
class LowLight(Degradation):
    """Underexposure: little light on the sensor, with shot and read noise, and a slight colour cast."""

    severity = (0.3, 0.7)
    task = "low-light"

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Scales linear light by 10^-(1.1 + 1.6 severity), adds sensor noise, and goes back to display values."""
        exposure = 10 ** -(1.1 + 1.6 * severity) * rng.uniform(0.85, 1.15, 3)
        light = to_linear(image) * exposure.astype(np.float32)
        # Measured on flat regions of LOL: the variance grows with the light, and little of it is left without light.
        shot, read = 8.5e-5, 1e-4
        deviation = np.sqrt(shot * light + read**2, dtype=np.float32)
        return to_display(light + deviation * rng.standard_normal(image.shape, np.float32))


@DEGRADATIONS.register_module()
class GaussianNoise(Degradation):
    """White Gaussian noise of standard deviation severity x 100 / 255; 0.5 is the benchmark's sigma 50."""

    severity = (0.5, 0.5)
    task = "noisy"

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Adds the noise."""
        return image + np.float32(severity * 100 / 255) * rng.standard_normal(image.shape, np.float32)


@DEGRADATIONS.register_module()
class JPEGCompression(Degradation):
    """JPEG with chroma subsampling; severity 0.5 is quality 10, 0 is 40, 1 is 2."""

    severity = (0.5, 0.5)
    task = "jpeg-compressed"

    def quality(self, severity: float) -> int:
        """Quality factor of a severity."""
        return max(1, round(10 * 16 ** (0.5 - severity)))

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Encodes and decodes."""
        pixels = np.rint(image[..., ::-1] * 255).astype(np.uint8)
        _, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, self.quality(severity)])
        return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255
