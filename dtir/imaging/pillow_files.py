"""The formats that libvips does not read or write, or not all of: BMP, PNM, and LAB with 8 bits."""

import struct
from typing import IO, TYPE_CHECKING

import cv2
import numpy as np
from PIL import BmpImagePlugin, Image, ImageCms, PpmImagePlugin, TiffImagePlugin

from dtir.imaging.picture import STRAIGHT, Form
from dtir.imaging.pnm import read_pnm
from dtir.imaging.vips import libvips

if TYPE_CHECKING:
    import pyvips

_MILLIMETRES_PER_INCH = 25.4
# Where a BMP file says how many pixels a metre has across and down.
_BMP_RESOLUTION = slice(38, 46)
_KINDS = {"1": "1 bit", "P": "palette", "LAB": "LAB"}


def open_bmp(stream: IO[bytes]) -> tuple["pyvips.Image", Form]:
    """Pixels and form of a BMP file."""
    # Not by Image.open, which refuses large pictures for fear of zip bombs.
    return _opened(BmpImagePlugin.BmpImageFile(stream))


def open_bitmap(stream: IO[bytes]) -> tuple["pyvips.Image", Form]:
    """Pixels and form of a PNM file of black and white."""
    return _opened(PpmImagePlugin.PpmImageFile(stream))


def open_pnm(data: bytes) -> tuple["pyvips.Image", Form]:
    """Pixels and form of a PNM file of grey or colour."""
    pixels, peak = read_pnm(data)
    return libvips().Image.new_from_array(pixels), Form(peak=peak, was_grey=pixels.shape[2] == 1)


def open_lab(stream: IO[bytes], page: int) -> tuple["pyvips.Image", Form, int]:
    """Pixels, form and number of pages of a TIFF file in CIE L*a*b* with 8 bits; the pixels become sRGB."""
    image = TiffImagePlugin.TiffImageFile(stream)
    image.seek(page)
    profiles = (ImageCms.createProfile(space) for space in ("LAB", "sRGB"))
    to_rgb = ImageCms.buildTransform(*profiles, "LAB", "RGB")
    pixels = np.asarray(ImageCms.applyTransform(image, to_rgb))
    return libvips().Image.new_from_array(pixels), Form(kind="LAB"), image.n_frames


def _opened(image: Image.Image) -> tuple["pyvips.Image", Form]:
    dpi = image.info.get("dpi", (_MILLIMETRES_PER_INCH,) * 2)
    form = Form(
        was_grey=image.mode in ("1", "L"),
        extra=(STRAIGHT,) if image.mode == "RGBA" else (),
        kind=_KINDS.get(image.mode, ""),
        resolution=(dpi[0] / _MILLIMETRES_PER_INCH, dpi[1] / _MILLIMETRES_PER_INCH),
    )
    plain = {"1": "L", "P": "RGB"}.get(image.mode, image.mode)
    return libvips().Image.new_from_array(np.asarray(image.convert(plain))), form


def write_bmp(file: IO[bytes], pixels: np.ndarray, form: Form) -> None:
    """Writes uint8 (H, W, 1, 3 or 4)."""
    # OpenCV's opacity is found by other programs, Pillow's is not.
    swapped = pixels[:, :, [2, 1, 0, 3][: pixels.shape[2]]] if pixels.shape[2] > 1 else pixels
    data = bytearray(cv2.imencode(".bmp", np.ascontiguousarray(swapped))[1])
    data[_BMP_RESOLUTION] = struct.pack("<ii", *(round(1000 * per_millimetre) for per_millimetre in form.resolution))
    file.write(data)
