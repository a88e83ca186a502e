"""Grounds from above: asphalt, sand, courts with lines, paving; their grain is no noise, and their greys no haze."""

import cv2
import numpy as np

from dtir.imaging.fields import fractal_field, smooth_field
from dtir.registry import TRANSFORMS

from .drawing import Drawing


@TRANSFORMS.register_module()
class DrawGround(Drawing):
    """Draws grounds; see `ground_picture`."""

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A picture, uint8 (side, side, 3)."""
        return ground_picture(rng, self.side)


def ground_picture(rng: np.random.Generator, side: int) -> np.ndarray:
    """A ground of one or two materials, often paved or marked, seen at a slant, uint8 (side, side, 3).

    `side` is at least 10.
    """
    ground = _material(rng, side)
    if rng.random() < 0.25:
        beside = _half(rng, side)
        ground = np.where(beside, _material(rng, side), ground)
    if rng.random() < 0.35:
        ground = _paved(ground, rng)
    if rng.random() < 0.4:
        ground = _marked(ground, rng)
    ground = _littered(ground, rng)
    return np.rint(255 * np.clip(_taken(_slanted(ground, rng), rng), 0, 1)).astype(np.uint8)


def _material(rng: np.random.Generator, side: int) -> np.ndarray:
    """Display values (side, side, 3): a colour, uneven at large, with grains that are brighter or darker."""
    shape = (side, side)
    colour = rng.uniform(0.2, 0.75) * np.exp(rng.normal(0, 0.1, 3) + rng.normal(0, 0.14) * np.array([1.0, 0.1, -1.0]))
    uneven = rng.uniform(0.02, 0.12) * fractal_field(shape, rng, side / rng.uniform(1.5, 8), 4)
    grains = rng.uniform(0.02, 0.3) * _grains(rng, side)
    tints = rng.uniform(0, 0.04) * smooth_field(shape, rng, 3)[..., None] * rng.normal(0, 1, 3)
    return (colour * np.exp((uneven + grains)[..., None] + tints)).astype(np.float32)


def _grains(rng: np.random.Generator, side: int) -> np.ndarray:
    """Grains of one size (side, side), of zero mean and unit variance, rare and strong or many and weak."""
    size = np.exp(rng.uniform(np.log(0.2), np.log(2.0)))
    field = cv2.GaussianBlur(rng.standard_normal((side, side)).astype(np.float32), (0, 0), size)
    field /= field.std() + 1e-6
    field = np.sign(field) * np.abs(field) ** rng.uniform(0.8, 2)
    field *= np.where(field > 0, rng.uniform(0.4, 1.6), 1)
    return (field - field.mean()) / (field.std() + 1e-6)


def _half(rng: np.random.Generator, side: int) -> np.ndarray:
    """What lies on one side of a line through the picture, bool (side, side, 1)."""
    return (_across(rng, side) > 0)[..., None]


def _across(rng: np.random.Generator, side: int, angle: float | None = None) -> np.ndarray:
    """Signed distance (side, side) in pixels from a line through the middle half of the picture."""
    angle = rng.uniform(0, np.pi) if angle is None else angle
    x, y = np.arange(side) - rng.uniform(0.25, 0.75) * side, np.arange(side)[:, None] - rng.uniform(0.25, 0.75) * side
    return (np.cos(angle) * x + np.sin(angle) * y).astype(np.float32)


def _paved(ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Slabs or bricks of a brightness of their own each, with joints, rows shifted or not."""
    side, angle = len(ground), rng.uniform(0, np.pi)
    length, depth = rng.uniform(0.08, 0.5, 2) * side
    row = np.floor(_across(rng, side, angle + np.pi / 2) / depth)
    along = _across(rng, side, angle) + row * rng.choice([0, 0.5]) * length
    column = np.floor(along / length)
    brightness = rng.normal(0, rng.uniform(0, 0.15), 997).astype(np.float32)
    slab = brightness[(131 * row.astype(int) + 17 * column.astype(int)) % 997]
    # A joint is where the slab next door begins within its width.
    width = max(1, int(rng.uniform(0.005, 0.02) * side))
    edges = (row + 31 * column).astype(np.float32)
    joints = (cv2.dilate(edges, np.ones((width + 1, width + 1))) != edges).astype(np.float32)
    depth_of_joint = rng.uniform(-0.9, 0.3)
    return ground * np.exp(slab + depth_of_joint * joints)[..., None]


def _marked(ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One to four painted lines, two directions at right angles, worn off in places."""
    side, angle = len(ground), rng.uniform(0, np.pi)
    paint = rng.uniform(0.6, 0.95) * (1 if rng.random() < 0.6 else np.array([1, 0.8, 0.4]) + rng.normal(0, 0.1, 3))
    worn = rng.uniform(-2.5, 0.3)
    for _ in range(rng.integers(1, 5)):
        half = rng.uniform(0.008, 0.04) * side
        across = np.abs(_across(rng, side, angle + rng.choice([0, np.pi / 2])))
        cover = np.clip(half - across + 0.5, 0, 1) * (
            0.5 * (_grains(rng, side) + smooth_field((side,) * 2, rng, 30)) > worn
        )
        cover = (rng.uniform(0.6, 1) * cover)[..., None]
        ground = ground + cover * (paint * (0.7 + 0.6 * ground.mean(2, keepdims=True)) - ground)
    return ground.astype(np.float32)


def _littered(ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A few leaves, stones and stains."""
    side, ground = len(ground), np.ascontiguousarray(ground)
    for _ in range(rng.poisson(3) * (rng.random() < 0.6)):
        colour = tuple(float(value) for value in np.clip(rng.normal(0.45, 0.2, 3), 0.05, 0.95))
        at = tuple(int(value) for value in rng.integers(0, side, 2))
        axes = tuple(int(value) for value in np.ceil(rng.uniform(0.003, 0.025, 2) * side))
        cv2.ellipse(ground, at, axes, rng.uniform(0, 180), 0, 360, colour, -1, cv2.LINE_AA)
    return ground


def _slanted(ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The ground as a camera sees it that looks down at a slant: far grains are smaller."""
    side, slant = len(ground), rng.uniform(0, 0.25)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32) * side
    # What fills the picture is a part of the ground that narrows towards the camera.
    seen = np.array([[0, 0], [1, 0], [1 - slant, 1 - slant], [slant, 1 - slant]], np.float32) * side
    view = cv2.getPerspectiveTransform(seen, corners)
    return cv2.warpPerspective(ground, view, (side, side), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


def _taken(ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The ground through a lens and a camera's sharpening, which need not be alike in width and height."""
    focus = np.maximum(rng.uniform(0.1, 0.8) + rng.uniform(-0.2, 0.2, 2), 0.1)
    soft = cv2.GaussianBlur(ground, (0, 0), sigmaX=focus[0], sigmaY=focus[1])
    return soft + rng.uniform(0, 0.8) * (rng.random() < 0.5) * (soft - cv2.GaussianBlur(soft, (0, 0), 1.5))
