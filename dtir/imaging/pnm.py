"""PGM and PPM files of any largest value, which Pillow reads and writes with 8 bits only where they are coloured."""

import re
from typing import IO

import numpy as np

MAGIC = re.compile(rb"P[2356]\s")
_NUMBER = rb"(?:\s|#[^\n]*\n)+(\d+)"
_HEADER = re.compile(rb"P([2356])" + 3 * _NUMBER + rb"(?:#[^\n]*)?\s")


def read_pnm(data: bytes) -> tuple[np.ndarray, int]:
    """The pixels of a file of type P2, P3, P5 or P6.

    Returns:
        uint8 or uint16 (H, W, 1 or 3), and the value of white, 1 to 65535.

    Raises:
        ValueError: The header is malformed, pixels are missing, or one is above the largest value.
    """
    header = _HEADER.match(data)
    if header is None:
        raise ValueError("its header is malformed")
    kind, width, height, peak = map(int, header.groups())
    if not (width and height and 0 < peak < 65536):
        raise ValueError(f"its header says {width} x {height} pixels of 0 to {peak}")
    shape = (height, width, 3 if kind in (3, 6) else 1)
    values = _numbers(data[header.end() :], kind, np.dtype(">u2" if peak > 255 else "u1"))[: np.prod(shape)]
    if values.size < np.prod(shape):
        raise ValueError(f"it ends early, with {values.size} of {np.prod(shape)} samples")
    for extreme in (values.min(), values.max()):
        if not 0 <= extreme <= peak:
            raise ValueError(f"it has a sample of {extreme} where its header says 0 to {peak}")
    return values.astype(np.uint16 if peak > 255 else np.uint8).reshape(shape), peak


def _numbers(body: bytes, kind: int, dtype: np.dtype) -> np.ndarray:
    if kind in (5, 6):
        return np.frombuffer(body, dtype, len(body) // dtype.itemsize)
    try:
        return np.array(re.sub(rb"#[^\n]*", b"", body).split(), np.int64)
    except OverflowError:
        raise ValueError("it has a sample beyond all bounds") from None


def write_pnm(file: IO[bytes], pixels: np.ndarray, peak: int) -> None:
    """Writes (H, W, 1 or 3) pixels of 0 to `peak` as P5 or P6."""
    height, width, bands = pixels.shape
    file.write(f"P{6 if bands == 3 else 5}\n{width} {height}\n{peak}\n".encode())
    file.write(pixels.astype(">u2" if peak > 255 else "u1").tobytes())
