"""One HTML page of pictures before and after, with sliders; it needs no other file and no network."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment

from dtir.apis.archive.folder import Job
from dtir.apis.restoring.outcome import Outcome
from dtir.core.assets import ASSETS
from dtir.core.atomic import atomic_write
from dtir.core.errors import ImageFileError
from dtir.core.names import printable
from dtir.imaging.thumbnails import jpeg_thumbnail

TEMPLATE = ASSETS / "sheet" / "page.html.j2"
# Longer side of a thumbnail in pixels, and how many a browser shows without trouble.
SIDE = 640
MOST = 300


class Entry(NamedTuple):
    """A picture of the page; `before` and `after` are data URLs."""

    name: str
    before: str
    after: str
    text: str


def write_sheet(
    path: str | Path, done: Sequence[tuple[Job, Outcome]], title: str = "Restored pictures", left_out: int = 0
) -> Path:
    """Writes the page.

    Args:
        path: The file.
        done: Pictures and what was done to them; their files are read again. Those gone in the meantime are left out.
        title: Title of the page.
        left_out: Number of pictures that the page is to mention and not to show.

    Returns:
        `path`.

    Raises:
        ImageFileError: The page cannot be written.
    """
    entries = [entry for job, outcome in done if (entry := _entry(job, outcome)) is not None]
    page = Environment(autoescape=True, trim_blocks=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    text = page.render(title=title, entries=entries, left_out=left_out + len(done) - len(entries))
    try:
        with atomic_write(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise ImageFileError(f"cannot write the page '{path}': {error.strerror or error}.") from error
    return Path(path)


def _entry(job: Job, outcome: Outcome) -> Entry | None:
    try:
        return Entry(printable(job.source.name), _thumbnail(job.source), _thumbnail(job.target), str(outcome))
    except ImageFileError:
        return None


def _thumbnail(path: Path) -> str:
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg_thumbnail(path, SIDE)).decode()}"
