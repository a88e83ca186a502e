"""The pictures of the quickstart, made from the bundled photographs.

    python tools/misc/quickstart_pictures.py damaged dtir/assets/damaged
    python tools/misc/quickstart_pictures.py faded work_dirs/quickstart

`damaged` writes photographs with damage that the model of the package was trained on, as the package brings them; that
model has seen them clean. `faded` writes prints that the sun has bleached, a damage which that model does not know:
pairs of crops of five photographs in `pairs/{LQ,GT}`, and prints of the other two in `faded`. Equal arguments give
equal pictures.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np

from dtir.cli import exit_code
from dtir.core.assets import ASSETS
from dtir.core.atomic import atomic_write
from dtir.datasets.transforms.degrade import build_degradation
from dtir.imaging.files import read_rgb

PHOTOS = ASSETS / "photos"
HELD_OUT = ("coffee.png", "flower.jpg")
_NOISE = {"degradation": "GaussianNoise", "severity": (0.15, 0.15)}
_DARK_AND_NOISY = {"type": "Compound", "main": "LowLight", "after": [_NOISE], "share": 1.0}
# Photograph, degradation, severity.
DAMAGED = {
    "dark.jpg": ("coffee.png", "LowLight", 0.5),
    "noisy.jpg": ("flower.jpg", "GaussianNoise", 0.5),
    "foggy.jpg": ("motorcycle_left.png", "Haze", 0.6),
    "rainy.jpg": ("coffee.png", "RainStreaks", 0.5),
    "compressed.jpg": ("flower.jpg", "JPEGCompression", 0.7),
    "dark_and_noisy.jpg": ("flower.jpg", _DARK_AND_NOISY, 0.3),
}
# Side of the crops that are learned from, and how many each photograph gives.
SIDE, CROPS = 192, 4
# What a bleached print leaves of red, green and blue, and what the yellowed paper adds.
LEFT = np.array([[0.62, 0.20, 0.06], [0.12, 0.50, 0.08], [0.08, 0.16, 0.34]], np.float32)
PAPER = np.array([0.24, 0.19, 0.12], np.float32)


def write_damaged(folder: Path) -> None:
    """Writes the pictures of `DAMAGED`."""
    for number, (name, (photo, kind, severity)) in enumerate(DAMAGED.items()):
        rng = np.random.default_rng(number)
        _write(folder / name, build_degradation(kind)(_unit(PHOTOS / photo), rng, severity))


def write_faded(folder: Path) -> None:
    """Writes pairs to learn from, and prints to restore."""
    rng = np.random.default_rng(0)
    for photo in sorted(path for path in PHOTOS.iterdir() if path.suffix in (".png", ".jpg")):
        clean = _unit(photo)
        if photo.name in HELD_OUT:
            _write(folder / "faded" / f"{photo.stem}.png", fade(clean, rng))
            continue
        for number in range(CROPS):
            crop = _crop(clean, rng)
            _write(folder / "pairs" / "GT" / f"{photo.stem}_{number}.png", crop)
            _write(folder / "pairs" / "LQ" / f"{photo.stem}_{number}.png", fade(crop, rng))


def fade(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A bleached print of float32 (H, W, 3) in [0, 1]: pale, yellow, and with the grain of its paper."""
    bleached = image @ LEFT.T * rng.uniform(0.9, 1.0) + PAPER * rng.uniform(0.9, 1.1)
    grain = cv2.GaussianBlur(rng.standard_normal(image.shape[:2]).astype(np.float32), (0, 0), 0.8)
    return np.clip(bleached + 0.03 * grain[:, :, None], 0, 1)


def _crop(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    top, left = (int(rng.integers(0, length - SIDE + 1)) for length in image.shape[:2])
    return image[top : top + SIDE, left : left + SIDE]


def _unit(path: Path) -> np.ndarray:
    return read_rgb(path).astype(np.float32) / 255


def _write(path: Path, image: np.ndarray) -> None:
    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)[..., ::-1]
    _, data = cv2.imencode(path.suffix, np.ascontiguousarray(pixels), [cv2.IMWRITE_JPEG_QUALITY, 95])
    with atomic_write(path) as file:
        file.write(data.tobytes())


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("damaged", "faded"))
    parser.add_argument("folder", type=Path)
    args = parser.parse_args()
    (write_damaged if args.kind == "damaged" else write_faded)(args.folder)


if __name__ == "__main__":
    sys.exit(exit_code(main))
