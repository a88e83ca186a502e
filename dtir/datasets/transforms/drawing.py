"""Pictures that are no photographs: pages of text, diagrams, even fields and slopes of colour, drawn at random."""

from abc import abstractmethod

import cv2
import numpy as np
from mmcv.transforms import BaseTransform

from dtir.core.errors import ConfigError
from dtir.registry import TRANSFORMS

_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_PLAIN,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_COMPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
)
# Tenths of the side are drawn by.
_LEAST_SIDE = 10
_LETTERS = np.array(list("eeeeettttaaaooiinnssrrhhddllcumwfgypbvkxqjz,.-0123456789ABCDEHMNRST"))


class Drawing(BaseTransform):
    """Draws a picture into `gt` and, as yet undegraded, `lq`, from the sample's own generator.

    Args:
        side: of the picture, in pixels, at least 10.

    Raises:
        ConfigError: `side` is less.
    """

    def __init__(self, side: int = 400):
        if side < _LEAST_SIDE:
            raise ConfigError(f"side={side}: expected at least {_LEAST_SIDE} pixels to draw on.")
        self.side = side

    @abstractmethod
    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A picture, uint8 (side, side, 3)."""

    def transform(self, results: dict) -> dict:
        """Adds `gt` and `lq`, the same uint8 (side, side, 3) array."""
        results["gt"] = results["lq"] = self.draw(results["rng"])
        return results


@TRANSFORMS.register_module()
class DrawPicture(Drawing):
    """Draws pages of text, diagrams and fields of colour; see `drawn_picture`."""

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """A picture, uint8 (side, side, 3)."""
        return drawn_picture(rng, self.side)


def drawn_picture(rng: np.random.Generator, side: int) -> np.ndarray:
    """A page of text (half of them), a diagram, or an even field or slope of colour, uint8 (side, side, 3).

    `side` is at least 10.
    """
    canvas = _field(rng, side)
    kind = rng.choice(["page", "diagram", "field"], p=[0.5, 0.35, 0.15])
    if kind == "page":
        _write(canvas, rng)
    elif kind == "diagram":
        _draw_shapes(canvas, rng)
    return canvas


def _colour(rng: np.random.Generator) -> np.ndarray:
    # Paper and ink are grey more often than not.
    grey = rng.uniform(0, 255)
    return np.clip(grey + rng.normal(0, 60, 3) * (rng.random() < 0.4), 0, 255)


def _paper(rng: np.random.Generator) -> np.ndarray:
    chance = rng.random()
    if chance < 0.35:
        return np.full(3, 255.0)
    if chance < 0.6:
        return np.clip(rng.uniform(215, 255) + rng.normal(0, 8, 3), 0, 255)
    return _colour(rng)


def _field(rng: np.random.Generator, side: int) -> np.ndarray:
    first = _paper(rng)
    if rng.random() < 0.75:
        return np.full((side, side, 3), np.rint(first), np.uint8)
    angle = rng.uniform(0, 2 * np.pi)
    along = np.linspace(-0.5, 0.5, side)
    slope = np.clip(0.5 + (np.cos(angle) * along + np.sin(angle) * along[:, None]), 0, 1)[..., None]
    return np.rint(first + slope * (_colour(rng) - first)).astype(np.uint8)


def _ink(canvas: np.ndarray, rng: np.random.Generator) -> tuple[int, int, int]:
    dark = canvas.mean() > 128
    ink = rng.uniform(0, 90) if dark else rng.uniform(165, 255)
    tint = rng.normal(0, 35, 3) * (rng.random() < 0.3)
    return tuple(int(value) for value in np.clip(ink + tint, 0, 255))


def _write(canvas: np.ndarray, rng: np.random.Generator) -> None:
    side = len(canvas)
    left, right = rng.integers(0, side // 4), side - rng.integers(0, side // 4)
    y, font, scale, ink = rng.integers(0, side // 3), _FONTS[rng.integers(len(_FONTS))], rng.uniform(0.35, 1.1), None
    while y < side:
        if ink is None or rng.random() < 0.12:
            # A heading or another paragraph.
            ink, scale = _ink(canvas, rng), rng.uniform(0.35, 1.1)
            y += int(rng.integers(0, side // 10))
        letters = rng.choice(_LETTERS, max(1, int((right - left) / (19 * scale))))
        letters[rng.random(len(letters)) < 0.17] = " "
        if rng.random() < 0.15:
            letters = letters[: 1 + len(letters) // 2]
        thickness = 1 + int(rng.random() < 0.15)
        cv2.putText(canvas, "".join(letters), (int(left), int(y)), font, scale, ink, thickness, cv2.LINE_AA)
        y += int(scale * rng.uniform(30, 44)) + 1
    if rng.random() < 0.3:
        _rule(canvas, rng)


def _rule(canvas: np.ndarray, rng: np.random.Generator) -> None:
    side, step = len(canvas), int(rng.integers(20, 80))
    ink = _ink(canvas, rng)
    for at in range(int(rng.integers(0, step)), side, step):
        cv2.line(canvas, (0, at), (side, at), ink, 1)
        if step > 40:
            cv2.line(canvas, (at, 0), (at, side), ink, 1)


def _draw_shapes(canvas: np.ndarray, rng: np.random.Generator) -> None:
    side = len(canvas)
    for _ in range(rng.integers(2, 14)):
        colour = tuple(int(value) for value in _colour(rng))
        (x, y), size = rng.integers(0, side, 2), int(rng.integers(4, side // 2))
        thickness = -1 if rng.random() < 0.6 else int(rng.integers(1, 6))
        match rng.integers(5):
            case 0:
                cv2.circle(canvas, (int(x), int(y)), size // 2, colour, thickness, cv2.LINE_AA)
            case 1:
                height = int(rng.integers(4, side // 2))
                cv2.rectangle(canvas, (int(x), int(y)), (int(x) + size, int(y) + height), colour, thickness)
            case 2:
                corners = (np.array([x, y]) + rng.integers(-size, size + 1, (int(rng.integers(3, 7)), 2))).astype(int)
                cv2.fillPoly(canvas, [corners], colour, cv2.LINE_AA)
            case 3:
                heights = y + np.cumsum(rng.normal(0, 6, side))
                curve = np.stack([np.arange(side), heights], 1).astype(int)
                cv2.polylines(canvas, [curve], False, colour, abs(thickness), cv2.LINE_AA)
            case 4:
                word = "".join(rng.choice(_LETTERS, int(rng.integers(2, 12))))
                font = _FONTS[rng.integers(len(_FONTS))]
                cv2.putText(canvas, word, (int(x), int(y)), font, rng.uniform(0.4, 2.5), colour, 1, cv2.LINE_AA)
