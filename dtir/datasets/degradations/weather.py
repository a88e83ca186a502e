"""Damage by weather: haze, rain, snow, drops on the lens."""

import cv2
import numpy as np

from dtir.imaging.fields import fractal_field
from dtir.imaging.haze import scatter_light
from dtir.registry import DEGRADATIONS

from .base import Degradation, line_kernel, scatter


@DEGRADATIONS.register_module()
class Haze(Degradation):
    """Atmospheric scattering (Koschmieder): I = J t + A (1 - t) with transmission t = exp(-beta depth).

    The depth is a plane that recedes towards the top of an endless canvas, with smooth relief; the airlight A is bright
    and slightly tinted.
    """

    severity = (0.1, 0.9)
    task = "hazy"

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Scatters with beta = 1.05 x severity."""
        airlight = rng.uniform(0.85, 1.0) + rng.uniform(-0.015, 0.015, 3)
        return scatter_light(image, self.depth(image.shape[:2], rng), 1.05 * severity, airlight)

    def depth(self, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """Depth (H, W), positive, about 1 on average."""
        rows = np.linspace(0, shape[0] / 500, shape[0], dtype=np.float32)[:, None]
        start = rng.uniform(0, max(0, 1 - shape[0] / 500)) if shape[0] < 500 else 0.0
        plane = 1.4 - 0.8 * np.minimum(start + rows, 1)
        return np.maximum(plane + 0.27 * fractal_field(shape, rng, 220, 3), 0.1)


@DEGRADATIONS.register_module()
class RainStreaks(Degradation):
    """Heavy rain: dense layers of long streaks, near and far, whose grey light is added to the picture's.

    Gusts turn some layers away from the wind's direction. Far drops are so many that they merge to a veil.
    """

    severity = (0.2, 0.8)
    task = "rainy"
    layers = ((0.0150, 24.0, 1.0, 0.27), (0.0060, 36.0, 1.4, 0.42), (0.0016, 52.0, 2.4, 0.50))

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Adds streaks of a density that grows with severity."""
        wind = rng.normal(0, 0.2)
        gust = rng.choice([0.0, 1.0]) * rng.normal(0, 0.35)
        rain = np.zeros(image.shape[:2], np.float32)
        for density, length, width, strength in self.layers:
            angle = wind + gust * rng.integers(0, 2) + rng.normal(0, 0.03)
            kernel = line_kernel(length * rng.uniform(0.7, 1.3), angle, width * rng.uniform(0.8, 1.25))
            rain += strength * scatter(image.shape[:2], rng, 2 * severity * density, kernel)
        return image + rng.uniform(0.8, 1.2) * rain[..., None]


@DEGRADATIONS.register_module()
class Snow(Degradation):
    """Falling snow: countless specks far away, blurred flakes nearer, few large ones, all moving, and a light veil."""

    severity = (0.3, 0.7)
    task = "snowy"
    layers = ((0.0300, 0.9, 1.0, 0.40), (0.0060, 1.4, 2.0, 0.85), (0.0014, 2.8, 4.0, 0.85), (0.0003, 6.0, 8.0, 0.7))

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
        veil = 0.42 * severity
        veiled = image * (1 - veil) + np.float32(0.85 * veil)
        return veiled + cover[..., None] * (np.float32(0.97) - veiled)


@DEGRADATIONS.register_module()
class Raindrops(Degradation):
    """Drops on the glass, out of focus as the glass is near: each shows a bright wide view of the scene upside down.

    Between the drops the glass is wet in places: a film that blurs and veils.
    """

    severity = (0.3, 0.7)
    task = "raindrop"
    margin = 24
    radii = (4.0, 22.0)
    density = 9e-4

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Covers a share of the picture with drops, and wets another, both growing with severity."""
        focus, light = self._lens(rng)
        soft = cv2.GaussianBlur(image, (15, 15), 3)
        wet = self._film(image.shape[:2], rng, severity)[..., None]
        seen_through = image + wet * (0.25 * soft + np.float32(0.3 * light) - 0.55 * image)
        map_x, map_y, alpha, glow = self._refraction(image.shape[:2], rng, severity)
        drop = cv2.remap(soft, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        drop += glow[..., None] * (np.float32(light) - drop)
        # Defocus mixes what belongs to the drops alone: premultiplied, so that no picture bleeds in.
        side = 2 * int(np.ceil(2.5 * focus)) + 1
        layer = cv2.GaussianBlur(np.dstack([alpha[..., None] * drop, alpha]), (side, side), focus)
        return seen_through * (1 - layer[..., 3:]) + layer[..., :3]

    def _lens(self, rng: np.random.Generator) -> tuple[float, float | np.ndarray]:
        """How far out of focus the glass is, in pixels, and how bright the light from around is: one value, or RGB."""
        return 1.0 * 5.0 ** rng.random(), rng.uniform(0.65, 0.95)

    def _film(self, shape: tuple[int, int], rng: np.random.Generator, severity: float) -> np.ndarray:
        """How much of the view the film takes, (H, W) in [0, 1], 0 where the glass is dry."""
        return np.clip(0.6 * fractal_field(shape, rng, 120, 2) + 1.6 * severity - 0.35, 0, 1)

    def _refraction(self, shape: tuple[int, int], rng: np.random.Generator, severity: float) -> tuple:
        """Where each pixel looks (x, y), how opaque a drop it is in, and how bright that is; each (H, W)."""
        height, width = shape
        map_y, map_x = np.mgrid[:height, :width].astype(np.float32)
        alpha, glow = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
        scale = 0.75 * 2 ** rng.random()
        low, high = scale * self.radii[0], scale * self.radii[1]
        reach = int(high * 1.3)
        density = 2 * severity * self.density / scale**2
        number = rng.poisson(density * (height + 2 * reach) * (width + 2 * reach))
        centres = rng.uniform(-reach, [height + reach, width + reach], (number, 2))
        radii = low * (high / low) ** (rng.random(number) ** 1.5)
        shapes = rng.uniform([0.85, 3.0, 0.2], [1.2, 7.0, 0.9], (number, 3))
        for (cy, cx), radius, (aspect, shrink, light) in zip(centres, radii, shapes, strict=True):
            rows = slice(max(0, int(cy - 1.3 * radius)), max(0, int(cy + 1.3 * radius) + 1))
            columns = slice(max(0, int(cx - 1.3 * radius)), max(0, int(cx + 1.3 * radius) + 1))
            y, x = np.ogrid[rows, columns]
            y, x = y[: max(0, height - rows.start)] - cy, x[:, : max(0, width - columns.start)] - cx
            distance = (y / aspect) ** 2 + (x * aspect) ** 2
            inside = distance < radius**2
            map_y[rows, columns][inside] = np.broadcast_to(cy - shrink * y, inside.shape)[inside]
            map_x[rows, columns][inside] = np.broadcast_to(cx - shrink * x, inside.shape)[inside]
            glow[rows, columns][inside] = light * (1 - 0.6 * distance[inside] / radius**2)
            alpha[rows, columns][inside] = 0.9
        return map_x, map_y, alpha, glow


@DEGRADATIONS.register_module()
class LensDrops(Raindrops):
    """Drops of more sizes, farther out of focus, of warm or cold light up to white, some with a bright core alone."""

    radii = (3.0, 26.0)

    def _lens(self, rng: np.random.Generator) -> tuple[float, float | np.ndarray]:
        return 8.0 ** rng.random(), rng.uniform(0.65, 1.1) * (1 + rng.uniform(-0.07, 0.07, 3))

    def _refraction(self, shape: tuple[int, int], rng: np.random.Generator, severity: float) -> tuple:
        map_x, map_y, alpha, glow = super()._refraction(shape, rng, severity)
        return map_x, map_y, alpha, glow ** np.float32(2.5 ** rng.uniform(-1, 1))
