"""Damage by what lies over the picture: shadows, and strokes that are to be filled."""

import cv2
import numpy as np

from dtir.imaging.fields import smooth_field
from dtir.registry import DEGRADATIONS

from .base import Degradation


@DEGRADATIONS.register_module()
class Shadow(Degradation):
    """Cast shadows: silhouettes of objects, in which light is dimmed, red more than blue, as under a blue sky.

    An object is a few overlapping parts, each a stretched irregular polygon; few corners make a board or an umbrella,
    many a head or a bush. Its distance from the ground blurs the edge into a penumbra.
    """

    severity = (0.3, 0.7)
    task = "shadowed"
    radii = (8.0, 64.0)
    parts = 4
    density = 4.2e-5
    penumbra = (0.8, 4.0)

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Dims display values in the shadow."""
        mask = self.mask(image.shape[:2], rng)[..., None]
        dimmed = 1 - 0.72 * severity * rng.uniform(0.85, 1.1) + np.array([-0.02, -0.01, 0.03])
        return image * (1 - mask * (1 - np.clip(dimmed, 0.05, 1)).astype(np.float32))

    def mask(
        self, shape: tuple[int, int], rng: np.random.Generator, penumbra: tuple[float, float] | None = None
    ) -> np.ndarray:
        """Depth of the shadow (H, W), exactly 0 outside and 1 in the core, with penumbras of a random width.

        Args:
            shape: Height and width.
            rng: Source of randomness.
            penumbra: Range of the standard deviation of the edge's blur in pixels; None takes the class's own.
        """
        softness = rng.uniform(*(penumbra or self.penumbra))
        border = int(np.ceil(4 * softness))
        canvas = np.zeros((shape[0] + 2 * border, shape[1] + 2 * border), np.uint8)
        for corners in self._silhouettes(canvas.shape, rng):
            cv2.fillPoly(canvas, [corners], 255)
        soft = cv2.GaussianBlur(canvas, (0, 0), softness)
        return soft[border : border + shape[0], border : border + shape[1]] / np.float32(255)

    def _silhouettes(self, shape: tuple[int, int], rng: np.random.Generator) -> list[np.ndarray]:
        """Corners (N, 2) of the parts of all objects that may touch the canvas, as x and y."""
        low, high = self.radii
        reach = 4 * high
        objects = rng.poisson(self.density * (shape[0] + 2 * reach) * (shape[1] + 2 * reach))
        sizes = low * (high / low) ** rng.random(objects)
        centres = rng.uniform(-reach, [shape[1] + reach, shape[0] + reach], (objects, 2))
        offsets = rng.normal(0, 0.8, (objects, self.parts, 2)) * sizes[:, None, None]
        centres, sizes = (centres[:, None] + offsets).reshape(-1, 2), np.repeat(sizes, self.parts)
        beyond = np.abs(centres - np.clip(centres, 0, [shape[1], shape[0]])).max(1)
        near = beyond < 3 * sizes
        return _polygons(centres[near], sizes[near], rng)


@DEGRADATIONS.register_module()
class CastShadow(Shadow):
    """Shadows of any size, edge and tint: from leaves to buildings, from sharp to as wide as a hand.

    Beside what `Shadow` does, the shadow is tinted at random, as under skies and white balances of all kinds, and is
    not equally deep everywhere. Severity 0.5 leaves about half of the display values, 1 about a seventh.
    """

    severity = (0.15, 0.85)
    radii = (16.0, 150.0)
    density = 1.4e-5

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Dims display values in the shadow."""
        penumbra = self.penumbra if rng.random() < 0.7 else (4.0, 12.0)
        mask = self.mask(image.shape[:2], rng, penumbra)
        mask = mask * (1 - 0.25 * rng.random() * np.clip(smooth_field(mask.shape, rng, 60), 0, 1))
        tint = rng.normal(0, 0.04, 3) + rng.uniform(0, 0.05) * np.array([-1.0, -0.3, 1.0])
        kept = np.clip(np.exp(-1.9 * severity * rng.uniform(0.8, 1.1)) * (1 + tint / 0.4), 0.05, 1)
        return image * (1 - mask[..., None] * (1 - kept)).astype(np.float32)


def _polygons(centres: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Corners (4 to 23, 2), int32, of stretched, turned, irregular polygons.

    Args:
        centres: (N, 2), x and y.
        sizes: (N,), mean radii in pixels; no corner is farther than 3 of them from the centre.
        rng: Source of randomness.
    """
    numbers = rng.integers(4, 24, len(sizes))
    corners = np.arange(23)
    around = 2 * np.pi * (corners + rng.uniform(-0.3, 0.3, (len(sizes), 23))) / numbers[:, None]
    stretch = np.exp(np.clip(rng.normal(0, 0.5, (len(sizes), 1)), -0.95, 0.95))
    radii = sizes[:, None] * rng.uniform(0.88, 1.12, around.shape)
    points = radii * (stretch * np.cos(around) + 1j * np.sin(around) / stretch)
    points *= np.exp(1j * rng.uniform(0, np.pi, (len(sizes), 1)))
    places = np.rint(np.stack([points.real, points.imag], axis=-1) + centres[:, None]).astype(np.int32)
    return [place[:number] for place, number in zip(places, numbers, strict=True)]


@DEGRADATIONS.register_module()
class InpaintingMask(Degradation):
    """Zigzag strokes of missing pixels, white, as RePaint's thin masks, whose share differs much between pictures.

    Every segment leans to the other side than the one before.
    """

    severity = (0.1, 0.9)
    task = "inpainting"
    canvas = 256
    segments = 4
    widths = (7, 15)

    def degrade(self, image: np.ndarray, rng: np.random.Generator, severity: float) -> np.ndarray:
        """Sets the strokes to white and leaves the rest as it is."""
        return np.where(self.mask(image.shape[:2], rng, severity)[..., None], np.float32(1), image)

    def mask(self, shape: tuple[int, int], rng: np.random.Generator, severity: float) -> np.ndarray:
        """Where pixels are missing, bool (H, W); the share of missing pixels grows with severity."""
        reach = self.canvas // 2
        height, width = shape[0] + 2 * reach, shape[1] + 2 * reach
        number = rng.poisson(2 * severity * 24 * height * width / self.canvas**2)
        mask = np.zeros(shape, np.uint8)
        low, high = self.widths
        widths, segments = rng.integers(low, high + 1, number), rng.integers(1, self.segments + 1, number)
        for path, thickness, count in zip(
            self._paths(number, width, height, rng) - reach, widths, segments, strict=True
        ):
            cv2.polylines(mask, [path[: count + 1]], False, 1, int(thickness))
        return mask.astype(bool)

    def _paths(self, number: int, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
        """Corners (number, segments + 1, 2) of zigzag lines that start anywhere in the canvas, as x and y."""
        shape = (number, self.segments)
        side = np.where(np.arange(self.segments) % 2, 1, -1) * rng.choice([-1, 1], (number, 1))
        heading = side * np.abs(rng.normal(0, 0.9, shape)) + np.pi * rng.integers(0, 2, shape)
        moves = rng.uniform(10, 50, shape)[..., None] * np.stack([np.sin(heading), np.cos(heading)], axis=-1)
        start = rng.uniform(0, [width, height], (number, 1, 2))
        paths = np.concatenate([start, start + np.cumsum(moves, axis=1)], axis=1)
        return np.rint(paths).astype(np.int32)
