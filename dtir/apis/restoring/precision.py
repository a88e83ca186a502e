"""The precision in which a network computes, and whether half precision is worth it on this machine."""

import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dtir.apis.restoring.arrays import to_image
from dtir.core.assets import ASSETS
from dtir.core.errors import ConfigError
from dtir.imaging.files import read_picture
from dtir.measure.timing import seconds_of

AUTO, EXACT, HALF = "auto", "float32", "bf16"
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS = (AUTO, EXACT, *DTYPES)
# On average, of pictures in [0, 1]: one step of 8 bits.
MOST_DIFFERENCE = 1 / 255
# What half precision has to be faster by, so that the choice does not hang on a measurement's noise.
LEAST_GAIN = 1.1
# Measured on the middle of a photograph of the package, with noise, at so many time steps.
PHOTOGRAPH = ASSETS / "photos" / "flower.jpg"
SIDE, NOISE = 128, 0.05
STEPS, ROUNDS = 4, 3

# Restores tiles at a step in a precision.
Restore = Callable[[Tensor, int, str], Tensor]


class Choice(NamedTuple):
    """A precision that was chosen, and why.

    Attributes:
        precision: "float32" or "bf16".
        gain: How many times as fast bf16 was.
        difference: Difference of bf16 from float32 on average, the largest over the steps, of pictures in [0, 1].
        reason: Why nothing was measured; "" where it was.
    """

    precision: str
    gain: float = 1.0
    difference: float = 0.0
    reason: str = ""

    def __str__(self) -> str:
        if self.reason:
            return f"{self.precision}: {self.reason}"
        return (
            f"{self.precision}: bf16 is {self.gain:.1f} times as fast as float32 here, and {255 * self.difference:.2f} "
            "of 255 off on average (at most 1)"
        )


def check_precision(precision: str) -> None:
    """Raises ConfigError for a name that is no precision."""
    if precision not in PRECISIONS:
        raise ConfigError(f"precision='{precision}' is none; use one of {', '.join(PRECISIONS)}.")


def in_precision(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """A context in which a network computes in a precision."""
    if precision == EXACT:
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=DTYPES[precision])


def measured_choice(restore: Restore, steps: Sequence[int], device: torch.device) -> Choice:
    """bf16, where it is faster than float32 on this machine and changes pictures by no more than `MOST_DIFFERENCE`.

    Args:
        restore: Restores (1, 3, H, W).
        steps: Time steps of the tasks.
        device: Where `restore` computes.
    """
    picture, chosen = _sample().to(device), _spread(sorted(set(steps)), STEPS)
    with torch.inference_mode():
        for precision in (EXACT, HALF):
            # What is done once, such as choosing kernels, does not count.
            restore(picture[..., :32, :32], chosen[0], precision)
        seconds: dict[str, list[float]] = {EXACT: [], HALF: []}
        outputs: dict[str, list[Tensor]] = {}
        for _ in range(ROUNDS):
            for precision, taken in seconds.items():
                outputs[precision] = []
                taken.append(seconds_of(lambda p=precision: _restored(restore, picture, chosen, p, outputs[p])))
            if seconds[HALF][0] > seconds[EXACT][0]:
                # A machine without units for it takes ten times as long.
                break
    gain = min(seconds[EXACT]) / min(seconds[HALF])
    pairs = zip(outputs[EXACT], outputs[HALF], strict=True)
    difference = max((exact - half).abs().mean().item() for exact, half in pairs)
    return Choice(HALF if gain >= LEAST_GAIN and difference <= MOST_DIFFERENCE else EXACT, gain, difference)


def _restored(restore: Restore, picture: Tensor, steps: Sequence[int], precision: str, outputs: list[Tensor]) -> None:
    outputs += [restore(picture, step, precision).clamp(0, 1) for step in steps]


def _sample() -> Tensor:
    rgb = read_picture(PHOTOGRAPH).rgb
    top, left = ((length - SIDE) // 2 for length in rgb.shape[:2])
    image = to_image(rgb[top : top + SIDE, left : left + SIDE])
    return (image + NOISE * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)


def _spread(steps: Sequence[int], most: int) -> list[int]:
    """So many of them at most, evenly from the first to the last."""
    if len(steps) <= most:
        return list(steps)
    return [steps[k * (len(steps) - 1) // (most - 1)] for k in range(most)]
