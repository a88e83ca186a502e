"""Contact sheet of the operators for training-free guidance: what each one measures, and what can be computed back.

    python tools/analysis/operator_sheet.py --image PATH --out sheet.png [--size 256] [--cell 160]

Writes three pictures per registered operator, two operators a row: x, the measurements A x, and A_pinv A x, the part of
x that they determine. Measurements that are no picture are laid out as one; an operator that is not linear has no
pseudo-inverse.
"""

import argparse
import tempfile
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from dtir.cli.numbers import positive_int
from dtir.core.errors import ConfigError, DtirError
from dtir.diffusion.domain import to_centred, to_image
from dtir.diffusion.operators import (
    HDR,
    JPEG,
    AverageDownsampling,
    BicubicDownsampling,
    BoxInpainting,
    CircularBlur,
    CircularGaussianBlur,
    CircularMotionBlur,
    Colorization,
    FileInpainting,
    GammaBlur,
    Inpainting,
    LinearOperator,
    Operator,
    RandomInpainting,
    SeparableOperator,
    WalshHadamard,
    gaussian_kernel,
)
from dtir.diffusion.operators.resampling import bicubic_matrix
from dtir.evaluation.reports.panels import PanelRow, save_panel
from dtir.imaging.files import read_rgb, write_picture
from dtir.imaging.picture import Picture
from dtir.registry import OPERATORS

PER_ROW = 2


def stripes(side: int) -> Tensor:
    """A mask (side, side) of slanted stripes."""
    place = torch.arange(side)
    return ((place[:, None] + 2 * place) // (side // 4) % 2).float()


def stripes_from_file(side: int) -> FileInpainting:
    """An operator with them, by way of a picture file."""
    with tempfile.TemporaryDirectory() as folder:
        rgb = stripes(side)[..., None].repeat(1, 1, 3).numpy()
        write_picture(Path(folder) / "mask.png", Picture(rgb), rgb)
        return FileInpainting(Path(folder) / "mask.png", side, side)


# Operators with settings that show what they do, by registered name; given the side of the picture.
EXAMPLES: dict[str, Callable[[int], Operator]] = {
    "BicubicDownsampling": lambda n: BicubicDownsampling(4, n, n),
    "AverageDownsampling": lambda n: AverageDownsampling(8),
    "SeparableOperator": lambda n: SeparableOperator(bicubic_matrix(n, 8), bicubic_matrix(n, 2)),
    "CircularBlur": lambda n: CircularBlur(gaussian_kernel(1.0, 9) - 0.7 * gaussian_kernel(2.0, 9)),
    "CircularGaussianBlur": lambda n: CircularGaussianBlur(3.0, 19),
    "CircularMotionBlur": lambda n: CircularMotionBlur(15, 30),
    "Inpainting": lambda n: Inpainting(stripes(n)),
    "FileInpainting": stripes_from_file,
    "BoxInpainting": lambda n: BoxInpainting(n, n),
    "RandomInpainting": lambda n: RandomInpainting(n, n),
    "Colorization": lambda n: Colorization(),
    "WalshHadamard": lambda n: WalshHadamard(n, n, 0.5),
    "JPEG": lambda n: JPEG(10),
    "HDR": lambda n: HDR(2.0),
    "GammaBlur": lambda n: GammaBlur(3.0),
}


def example(name: str, side: int) -> Operator:
    """A registered operator with settings that show what it does.

    Raises:
        ConfigError: There is none here.
    """
    if name not in EXAMPLES:
        raise ConfigError(f"operator '{name}' has no example; add one to EXAMPLES in {__file__}.")
    return EXAMPLES[name](side)


def square(path: Path, side: int) -> Tensor:
    """The middle of a picture file as (1, 3, side, side), centred.

    Raises:
        ConfigError: The picture is smaller.
    """
    pixels = read_rgb(path)
    height, width = pixels.shape[:2]
    if min(height, width) < side:
        raise ConfigError(f"'{path}' has {width} x {height} pixels; --size {side} needs at least {side} x {side}.")
    top, left = (height - side) // 2, (width - side) // 2
    crop = torch.from_numpy(np.ascontiguousarray(pixels[top : top + side, left : left + side]))
    return to_centred(crop.permute(2, 0, 1)[None] / 255)


def shown(picture: Tensor) -> np.ndarray:
    """A centred picture (1, 3, H, W) as uint8 (H, W, 3)."""
    return (to_image(picture)[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()


def cells(name: str, x: Tensor) -> list[tuple[str, np.ndarray]]:
    """Labels and pictures of one operator."""
    operator = example(name, x.shape[-1])
    y = operator.A(x)
    size = " x ".join(map(str, y.shape[1:]))
    found = [(name, shown(x)), (f"A x: {size}", shown(operator.y_as_picture(y)))]
    if isinstance(operator, LinearOperator):
        return [*found, ("A_pinv A x", shown(operator.A_pinv(y)))]
    return [*found, ("not linear: no A_pinv", np.full_like(shown(x), 255))]


def rows(x: Tensor) -> list[PanelRow]:
    """The sheet; the last row is filled up with white."""
    groups = [cells(name, x) for name in sorted(OPERATORS.module_dict, key=[*EXAMPLES, *OPERATORS.module_dict].index)]
    groups += [[("", np.full_like(shown(x), 255))] * 3] * (-len(groups) % PER_ROW)
    lines = [list(chain(*groups[i : i + PER_ROW])) for i in range(0, len(groups), PER_ROW)]
    return [PanelRow([picture for _, picture in line], [label for label, _ in line]) for line in lines]


def main() -> int:
    """Draws the sheet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, required=True, help="a picture; its middle is taken")
    parser.add_argument("--out", type=Path, required=True, help="PNG or JPEG to write")
    parser.add_argument("--size", type=positive_int, default=256, help="side of x in pixels, a power of 2 from 16 on")
    parser.add_argument("--cell", type=positive_int, default=160, help="side of the pictures on the sheet in pixels")
    args = parser.parse_args()
    try:
        save_panel(args.out, rows(square(args.image, args.size)), width=args.cell)
    except DtirError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 1
    Console().print(f"sheet of operators: {args.out}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
