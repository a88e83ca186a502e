"""Which files of a folder are pictures, and in which order."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from dtir.core.errors import ImageFileError
from dtir.imaging.formats import IMAGE_EXTENSIONS

# What macOS puts beside the pictures of an archive: its own notes under their names.
_NOTES_PREFIX, _NOTES_FOLDER = "._", "__MACOSX"


def list_images(folder: str | os.PathLike, recursive: bool = False) -> list[Path]:
    """Returns the pictures of a folder in natural order (img2 before img10), following symbolic links.

    A link to a file that is gone is listed too: whoever reads it says so, where leaving it out would hide it.

    Raises:
        ImageFileError: the folder does not exist.
    """
    root = Path(folder)
    images = [path for path in _files(root, recursive) if path.suffix.lower() in IMAGE_EXTENSIONS]
    return sorted(images, key=lambda path: natural_key(str(path.relative_to(root))))


def left_out(folder: str | os.PathLike, recursive: bool = False) -> Counter[str]:
    """How many files of a folder are no pictures that are read here, by their lower-case extension ('' without).

    Hidden files are not counted.

    Raises:
        ImageFileError: the folder does not exist.
    """
    extensions = (path.suffix.lower() for path in _files(Path(folder), recursive) if not path.name.startswith("."))
    return Counter(extension for extension in extensions if extension not in IMAGE_EXTENSIONS)


def path_list(paths: str | os.PathLike | Iterable[str | os.PathLike]) -> list[Path]:
    """One path or several as a list: a single text is one path, not its characters.

    Raises:
        ImageFileError: A path is the empty text, which would stand for the present folder.
    """
    several = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if "" in several:
        raise ImageFileError("a path is empty; name a file or folder, . for the present one.")
    return [Path(path) for path in several]


def name_in(folder: Path, path: Path) -> str:
    """The name of a picture within a folder, without extension, in one of the forms that Unicode has for it (NFC).

    File systems and archives differ in whether "ä" is one character or two.
    """
    return unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())


def is_broken_link(path: Path) -> bool:
    """Whether `path` is a symbolic link to what is not there."""
    return path.is_symlink() and not path.exists()


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which numbers inside names count as numbers: 'img2' before 'img10'."""
    parts = re.findall(r"\d+|\D+", name)
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in parts]


def _files(root: Path, recursive: bool) -> Iterable[Path]:
    if not root.is_dir():
        raise ImageFileError(f"no folder '{root}': expected a folder of pictures.")
    found = _walk(root) if recursive else root.iterdir()
    return (path for path in found if _is_file_or_broken_link(path) and not _is_note(path.relative_to(root)))


def _is_file_or_broken_link(path: Path) -> bool:
    return path.is_file() or is_broken_link(path)


def _is_note(path: Path) -> bool:
    return path.name.startswith(_NOTES_PREFIX) or _NOTES_FOLDER in path.parts


def _walk(root: Path) -> Iterable[Path]:
    seen = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
        # A link to a folder above would be followed for ever.
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        yield from (Path(folder, name) for name in files)
