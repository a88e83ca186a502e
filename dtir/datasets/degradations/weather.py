"""Damage by weather: haze, rain, snow, drops on the lens."""

import cv2
import numpy as np

from dtir.registry import DEGRADATIONS

from .base import Degradation, fractal_field, line_kernel, scatter


@DEGRADATIONS.register_module()
class Haze(Degradation):
    """Atmospheric scattering (Koschmieder): I = J t + A (1 - t) with transmission t = exp(-beta depth).

    The depth is a plane that recedes towards the top of an endless canvas, with smooth relief; the airlight A is bright
    and slightly tinted.
    """

    severity = (0.3, 0.7)

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Scatters with beta = 1.15 x severity."""
        airlight = rng.uniform(0.78, 0.95) + rng.uniform(-0.03, 0.03, 3)
        return scatter_light(image, self.depth(image.shape[:2], rng), 1.15 * severity, airlight)

    def depth(self, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """Depth (H, W), positive, about 1 on average."""
        rows = np.linspace(0, shape[0] / 500, shape[0], dtype=np.float32)[:, None]
        start = rng.uniform(0, max(0, 1 - shape[0] / 500)) if shape[0] < 500 else 0.0
        plane = 1.4 - 0.8 * np.minimum(start + rows, 1)
        return np.maximum(plane + 0.27 * fractal_field(shape, rng, 220, 3), 0.1)


def scatter_light(image: np.ndarray, depth: np.ndarray, beta: float, airlight: np.ndarray) -> np.ndarray:
    """I = J t + A (1 - t) of a picture (H, W, 3), a depth (H, W), a scattering coefficient, and an airlight (3,)."""
    transmission = np.exp(-beta * depth)[..., None].astype(np.float32)
    return image * transmission + np.asarray(airlight, np.float32) * (1 - transmission)


@DEGRADATIONS.register_module()
class RainStreaks(Degradation):
    """Heavy rain: layers of streaks near and far that share the wind's direction, and a bright veil."""

    severity = (0.3, 0.7)
    margin = 24
    layers = ((0.0045, 12.0, 1.1, 0.75), (0.0028, 22.0, 1.5, 0.8), (0.0010, 36.0, 2.2, 0.85))

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Adds streaks of a density that grows with severity."""
        wind = rng.uniform(-0.7, 0.7)
        streaks = np.zeros(image.shape[:2], np.float32)
        for density, length, width, strength in self.layers:
            kernel = line_kernel(length * rng.uniform(0.8, 1.2), wind + rng.normal(0, 0.05), width)
            layer = scatter(image.shape[:2], rng, 2.8 * severity * density, strength * kernel)
            streaks = 1 - (1 - streaks) * (1 - layer)
        veil = 0.35 * severity
        light = rng.uniform(0.85, 1.0)
        veiled = image * (1 - veil) + np.float32(veil * light * 0.9)
        return veiled + streaks[..., None] * (np.float32(light) - veiled)


@DEGRADATIONS.register_module()
class Snow(Degradation):
    """Falling snow: many small blurred flakes far away, few large ones near, all moving, under a light veil."""

    severity = (0.3, 0.7)
    margin = 16
    layers = ((0.0060, 1.2, 2.0, 0.9), (0.0022, 2.6, 4.0, 0.9), (0.0005, 6.0, 8.0, 0.75))

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Adds flakes of a density that grows with severity."""
        wind = rng.uniform(-0.9, 0.9)
        cover = np.zeros(image.shape[:2], np.float32)
        for density, size, motion, opacity in self.layers:
            kernel = line_kernel(
                motion * rng.uniform(0.3, 1.2), wind + rng.normal(0, 0.15), size * rng.uniform(0.8, 1.3)
            )
            layer = opacity * scatter(image.shape[:2], rng, 2.8 * severity * density, 1.3 * kernel)
            cover = 1 - (1 - cover) * (1 - layer)
        veil = 0.25 * severity
        veiled = image * (1 - veil) + np.float32(0.85 * veil)
        return veiled + cover[..., None] * (np.float32(0.97) - veiled)


@DEGRADATIONS.register_module()
class Raindrops(Degradation):
    """Drops on the glass: each shows the scene upside down and small, out of focus, with a soft rim."""

    severity = (0.3, 0.7)
    margin = 24
    radii = (5.0, 22.0)

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Covers a share of the picture with drops that grows with severity."""
        map_x, map_y, alpha, gain = self._refraction(image.shape[:2], rng, severity)
        soft = cv2.GaussianBlur(image, (0, 0), 3)
        seen = cv2.remap(soft, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        alpha = cv2.GaussianBlur(alpha, (0, 0), 1.2)[..., None]
        return image + alpha * (seen * gain[..., None] - image)

    def _refraction(self, shape: tuple[int, int], rng: np.random.Generator, severity: float) -> tuple:
        height, width = shape
        map_y, map_x = np.mgrid[:height, :width].astype(np.float32)
        alpha, gain = np.zeros(shape, np.float32), np.ones(shape, np.float32)
        reach = int(self.radii[1] * 1.3)
        number = rng.poisson(2 * severity * 1.3e-3 * (height + 2 * reach) * (width + 2 * reach))
        centres = rng.uniform(-reach, [height + reach, width + reach], (number, 2))
        low, high = self.radii
        radii = low * (high / low) ** (rng.random(number) ** 1.5)
        shapes = rng.uniform([0.8, 3.0, 0.85], [1.25, 7.0, 1.25], (number, 3))
        for (cy, cx), radius, (aspect, shrink, light) in zip(centres, radii, shapes, strict=True):
            rows = slice(max(0, int(cy - 1.3 * radius)), max(0, int(cy + 1.3 * radius) + 1))
            columns = slice(max(0, int(cx - 1.3 * radius)), max(0, int(cx + 1.3 * radius) + 1))
            y, x = np.ogrid[rows, columns]
            y, x = y[: max(0, height - rows.start)] - cy, x[:, : max(0, width - columns.start)] - cx
            distance = (y / aspect) ** 2 + (x * aspect) ** 2
            inside = distance < radius**2
            window = alpha[rows, columns]
            map_y[rows, columns][inside] = np.broadcast_to(cy - shrink * y, inside.shape)[inside]
            map_x[rows, columns][inside] = np.broadcast_to(cx - shrink * x, inside.shape)[inside]
            gain[rows, columns][inside] = light * (1.1 - 0.45 * distance[inside] / radius**2)
            window[inside] = 0.95
        return map_x, map_y, alpha, gain
