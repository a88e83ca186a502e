"""Damage by camera and file format with wider ranges than `optics`: for networks that meet pictures of any origin."""

import cv2
import numpy as np

from dtir.imaging.fields import fractal_field
from dtir.registry import DEGRADATIONS

from .base import Degradation, to_display, to_linear
from .occlusion import Shadow
from .optics import trajectory_psf


@DEGRADATIONS.register_module()
class CameraNoise(Degradation):
    """Noise of a developed photograph: shot and read noise, correlated by demosaicking, with blotches of colour.

    The standard deviation is severity x 60 / 255 at mid-grey.
    """

    severity = (0.02, 0.5)
    task = "noisy"

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Adds the noise to display values."""
        shot = rng.random()
        variance = (1 - shot) + 2 * shot * image
        return image + np.float32(severity * 60 / 255) * np.sqrt(variance) * coloured_noise(image.shape, rng)


def coloured_noise(shape: tuple[int, int, int], rng: np.random.Generator) -> np.ndarray:
    """Normal noise (H, W, 3) of about unit variance, of a random correlation between neighbours and channels."""
    # One plane of grey and three of colour.
    fine = rng.standard_normal((*shape[:2], 4), np.float32)
    if rng.random() < 0.6:
        fine = _smoothed(fine, rng.uniform(0.4, 1.1))
    grey, blotches = rng.uniform(0, 0.7), rng.uniform(0, 0.4)
    coarse = _smoothed(rng.standard_normal(shape, np.float32), rng.uniform(1.0, 2.5))
    weights = np.array([grey, 1 - grey, blotches], np.float32)
    weights /= np.linalg.norm(weights)
    return weights[0] * fine[..., 3:] + weights[1] * fine[..., :3] + weights[2] * coarse


def _smoothed(noise: np.ndarray, sigma: float) -> np.ndarray:
    side = 2 * int(np.ceil(3 * sigma)) + 1
    kernel = cv2.getGaussianKernel(side, sigma).astype(np.float32)
    # White noise keeps the sum of the squared weights of its variance in each direction.
    return cv2.sepFilter2D(noise, -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101) / np.square(kernel).sum()


@DEGRADATIONS.register_module()
class CameraJPEG(Degradation):
    """JPEG with chroma at full, half, or quarter resolution; severity 0 is quality 60, 1 is 5, logarithmically."""

    severity = (0.0, 1.0)
    task = "jpeg-compressed"
    sampling = (
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_422,
        cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444,
    )
    shares = (0.6, 0.1, 0.3)

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Encodes and decodes."""
        pixels = np.rint(image[..., ::-1] * 255).astype(np.uint8)
        quality = round(60 * 12**-severity)
        sampling = int(rng.choice(self.sampling, p=self.shares))
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
        _, data = cv2.imencode(".jpg", pixels, options)
        return cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255


@DEGRADATIONS.register_module()
class UnderExposure(Degradation):
    """Too little light, from a trace to almost none, with a colour cast, another tone curve and coloured noise.

    Severity 0 leaves the exposure, 1 divides the light by 100. The noise is independent of it, as a camera may take
    more or less time: from none to that of LOL and beyond.
    """

    severity = (0.0, 1.0)
    task = "low-light"

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Scales linear light, adds sensor noise, and goes back to display values."""
        cast = 1 + 0.12 * min(1, 3 * severity) * rng.uniform(-1, 1, 3)
        light = to_linear(image) * (10 ** (-2 * severity) * cast).astype(np.float32)
        shot, read = 2e-4 * rng.random() ** 2, 2e-4 * rng.random() ** 2
        deviation = np.sqrt(np.float32(shot) * light + np.float32(read**2))
        noisy = light + deviation * coloured_noise(image.shape, rng)
        return np.power(to_display(noisy), np.float32(1 + 0.25 * min(1, 3 * severity) * rng.uniform(-1, 1)))


@DEGRADATIONS.register_module()
class SceneBlur(Degradation):
    """Blur of a moving camera in a scene with depth and moving objects, sometimes out of focus too.

    Near and far move by different lengths along the same path, and blend where the depth does; objects have a path of
    their own. Paths are nearly straight, as over the time of a few frames.
    """

    margin = 24
    severity = (0.0, 1.0)
    task = "motion-blurry"
    longest = 30.0

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Blurs linear light along paths of up to `longest` x severity pixels."""
        light, extent = to_linear(image), self.longest * severity
        angle, bend = rng.uniform(0, 2 * np.pi), rng.choice([0.002, 0.02])
        near, far = (trajectory_psf(rng, extent * part, angle, bend) for part in (1.0, rng.uniform(0.3, 1.0)))
        depth = np.clip(0.5 + fractal_field(image.shape[:2], rng, 150, 2), 0, 1)[..., None].astype(np.float32)
        blurred = depth * _filtered(light, near) + (1 - depth) * _filtered(light, far)
        if rng.random() < 0.4:
            blurred = self._with_object(light, blurred, rng, extent)
        if rng.random() < 0.25:
            blurred = _filtered(blurred, _disk(rng.uniform(0.5, 1 + 3 * severity)))
        return to_display(blurred)

    def _with_object(
        self, light: np.ndarray, behind: np.ndarray, rng: np.random.Generator, extent: float
    ) -> np.ndarray:
        """Lays objects that move, or stand still, over a blurred background, both linear light (H, W, 3)."""
        mask = _Objects().mask(light.shape[:2], rng)[..., None]
        psf = trajectory_psf(rng, extent * rng.uniform(0, 1.2), rng.uniform(0, 2 * np.pi), 0.01)
        layer = _filtered(np.concatenate([light * mask, mask], axis=-1), psf)
        return behind * (1 - layer[..., 3:]) + layer[..., :3]


class _Objects(Shadow):
    """Silhouettes of what moves by itself."""

    radii = (12.0, 60.0)
    density = 3e-5
    penumbra = (0.5, 1.0)


def _filtered(light: np.ndarray, psf: np.ndarray) -> np.ndarray:
    return cv2.filter2D(light, -1, psf, borderType=cv2.BORDER_REFLECT_101)


def _disk(radius: float) -> np.ndarray:
    """A disk (K, K) with an anti-aliased edge that sums to 1."""
    reach = int(np.ceil(radius))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk = np.clip(radius + 0.5 - np.hypot(x, y), 0, 1).astype(np.float32)
    return disk / disk.sum()
