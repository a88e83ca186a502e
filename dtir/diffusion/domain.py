"""The one place of the map between image values [0, 1] and the centred values [-1, 1] that diffusion runs on."""

from torch import Tensor

# Lengths (noise scales, residuals) shrink by this factor from the centred to the image domain: x = (c + 1) / 2.
IMAGE_SCALE = 0.5


def to_centred(image: Tensor) -> Tensor:
    """Maps image values [0, 1] to centred values [-1, 1]; any shape, and values outside the range are kept."""
    return image / IMAGE_SCALE - 1


def to_image(centred: Tensor) -> Tensor:
    """Maps centred values [-1, 1] to image values [0, 1]; any shape, and values outside the range are kept."""
    return (centred + 1) * IMAGE_SCALE
