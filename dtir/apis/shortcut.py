"""`dtir.restore`: pictures restored in one line."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from dtir.apis.inferencer import RestorationInferencer
from dtir.apis.restoring.outcome import Outcome
from dtir.apis.restoring.wish import MOST_PASSES, Step

if TYPE_CHECKING:
    from dtir.apis.restoring.kinds import Pictures


def restore(
    x: "Pictures",
    task: str | None = None,
    t: Step | None = None,
    *,
    model: str | Path | None = None,
    device: str | None = None,
    strength: float = 1.0,
    passes: int = MOST_PASSES,
    prompt: str | None = None,
    encoder: str | Path | None = None,
    mask: "Pictures | None" = None,
    with_details: bool = False,
) -> "Pictures | tuple[Pictures, Outcome | list[Outcome]]":
    """Restores a path, PIL image, NumPy array, torch tensor, batch or list, and returns the same kind (of a path, a PIL
    image); see `RestorationInferencer.__call__`.

    Args:
        x: The picture or pictures.
        task: Name of the damage; None or "auto" estimates it.
        t: Time step instead of a task; or "auto" to estimate it from each picture, within the task if one is named.
        model: Name, file or folder of a model; None is the one of the package. It is loaded once and kept.
        device: Where the network runs; None takes CUDA if there is one.
        strength: Share of the change that is applied, in [0, 1].
        passes: Most restorations of one picture where the damage is estimated.
        prompt: What is to be done in words, instead of a task, a step and a strength.
        encoder: What reads the words for a network that listens to them; see docs/language.md.
        mask: White where pixels are missing.
        with_details: Returns what was done as well.

    Raises:
        DtirError, ValueError: see `RestorationInferencer`.
    """
    inferencer = _inferencer(model, device, encoder)
    options = {"strength": strength, "passes": passes, "prompt": prompt, "mask": mask, "with_details": with_details}
    return inferencer(x, task, t, **options)


@functools.lru_cache(maxsize=2)
def _inferencer(model: str | Path | None, device: str | None, encoder: str | Path | None) -> RestorationInferencer:
    return RestorationInferencer(model, device, encoder=encoder)
