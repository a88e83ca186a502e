"""The ten degradations, named as the folders of DA-CLIP's universal set are."""

import difflib

from dtir.utils.errors import TaskError

TASKS = (
    "motion-blurry",
    "hazy",
    "jpeg-compressed",
    "low-light",
    "noisy",
    "raindrop",
    "rainy",
    "shadowed",
    "snowy",
    "inpainting",
)


def check_task(name: str, known: tuple[str, ...] = TASKS) -> str:
    """Returns `name` if it is in `known`.

    Raises:
        TaskError: `name` is unknown; the message lists the known tasks and the nearest one.
    """
    if name in known:
        return name
    near = difflib.get_close_matches(str(name), known, n=1, cutoff=0.4)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise TaskError(f"unknown task '{name}'.{hint} Known tasks: {', '.join(known)}.")
