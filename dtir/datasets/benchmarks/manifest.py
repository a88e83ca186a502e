"""`manifest.json`: what a prepared folder holds and where it is from."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from dtir.core.atomic import atomic_write
from dtir.core.errors import DatasetError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Manifest:
    """The content of the file, written after all pictures are.

    Attributes:
        benchmark: Name of the benchmark.
        title: What its authors call it.
        task: Kind of degradation.
        folder: `<split>/<name>`.
        split: Its split.
        pairs: Number of pairs.
        expected: Numbers of pairs that are right, empty where it is not known.
        layout: The arrangement of the sources.
        rule: Rule by which LQ and GT were matched.
        recipe: How pictures were derived, empty where none was.
        mode: "link" or "copy", for pictures that are not derived.
        sources: Folders and archives.
        tool: Name and version of the program.
        plan: Checksum of all that decides the content.
        files: By path within the folder: bytes, width, height, sha256.
    """

    benchmark: str
    title: str
    task: str
    folder: str
    split: str
    pairs: int
    expected: list[int]
    layout: str
    rule: str
    recipe: str
    mode: str
    sources: list[str]
    tool: str
    plan: str
    files: Mapping[str, Mapping[str, int | str]]

    def write(self, root: Path) -> None:
        """Writes it to the folder of the part, whole or not at all."""
        with atomic_write(root / MANIFEST, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=1)


def read_manifest(folder: Path) -> Manifest | None:
    """Returns the manifest of a part's folder, None where there is none.

    Raises:
        DatasetError: It is damaged, or of another version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        return Manifest(**json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise DatasetError(
            f"'{path}' is damaged or of another version ({error}): delete it and prepare the data set again."
        ) from error
