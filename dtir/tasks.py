"""The ten degradations, named as the folders of DA-CLIP's universal set are."""

from collections.abc import Iterable

from dtir.core.errors import TaskError
from dtir.core.names import did_you_mean

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

# What a model that is told the task may also be told: there is no damage, the picture is to stay as it is (step 0).
CLEAN = "clean"

# Other names that the folder of a task may have: DA-CLIP's own tree calls inpainting "uncompleted".
_FOLDERS = {"inpainting": ("inpainting", "uncompleted")}

# Between task and test set in the name of a row.
SET_MARK = "@"


def folder_names(task: str) -> tuple[str, ...]:
    """What the folder of a task may be called in DA-CLIP's tree, its own name first."""
    return _FOLDERS.get(task, (task,))


def row_name(task: str, test_set: str = "") -> str:
    """What tables and records call the pictures of a task, or of a generalisation set of it: "hazy", "hazy@REVIDE"."""
    return f"{task}{SET_MARK}{test_set}" if test_set else task


def task_of(row: str) -> str:
    """The task of a row."""
    return row.partition(SET_MARK)[0]


def set_of(row: str) -> str:
    """The generalisation set of a row, "" for that of a task."""
    return row.partition(SET_MARK)[2]


def averaged_rows(rows: Iterable[str]) -> list[str]:
    """The rows that an average is over: those without a test set's name; all, where there are no others.

    A model is trained on the tasks and only tested on generalisation sets: a mean of both would say nothing.
    """
    rows = list(rows)
    return [row for row in rows if not set_of(row)] or rows


def check_task(name: str, known: tuple[str, ...] = TASKS) -> str:
    """Returns `name` if it is in `known`.

    Raises:
        TaskError: `name` is unknown; the message lists the known tasks and the nearest one.
    """
    if name in known:
        return name
    hint = did_you_mean(name, known)
    raise TaskError(f"unknown task '{name}'.{hint} Known tasks: {', '.join(known)}.")
