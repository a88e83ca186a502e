"""Which files of a folder are pictures, and in which order."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from dtir.core.errors import ImageFileError
from dtir.core.paths import as_path
from dtir.imaging.formats import IMAGE_EXTENSIONS

# What macOS puts beside the pictures of an archive: its own notes under their names.
_NOTES_PREFIX, _NOTES_FOLDER = "._", "__MACOSX"


class Survey(NamedTuple):
    """What is in a folder.

    Attributes:
        images: The pictures, in natural order (img2 before img10); a link to a file that is gone is among them: whoever
            reads it says so, where leaving it out would hide it.
        left_out: How many files are no pictures that are read here, by their lower-case extension ('' without); hidden
            files are not counted.
        unread: Sub-folders into which the system lets nobody look, and its reasons.
    """

    images: list[Path]
    left_out: Counter[str]
    unread: dict[str, str]


def survey(folder: str | os.PathLike, recursive: bool = False) -> Survey:
    """Goes once through a folder, following symbolic links.

    Raises:
        ImageFileError: the folder does not exist.
    """
    root = Path(folder)
    images, others, unread = [], Counter(), {}
    for path in _files(root, recursive, unread):
        extension = os.path.splitext(path)[1].lower()
        if extension in IMAGE_EXTENSIONS:
            images.append(path)
        elif not os.path.basename(path).startswith("."):
            others[extension] += 1
    beginning = len(os.path.join(root, ""))
    images.sort(key=lambda path: natural_key(path[beginning:]))
    return Survey([Path(path) for path in images], others, unread)


def list_images(folder: str | os.PathLike, recursive: bool = False) -> list[Path]:
    """The pictures of a folder in natural order (img2 before img10), following symbolic links; see `Survey.images`.

    Raises:
        ImageFileError: the folder does not exist.
    """
    return survey(folder, recursive).images


def path_list(paths: str | bytes | os.PathLike | Iterable[str | bytes | os.PathLike]) -> list[Path]:
    """One path or several as a list: a single text is one path, not its characters.

    Raises:
        ImageFileError: A path is the empty text, which would stand for the present folder.
        ConfigError: A path is neither a text nor a `Path`.
    """
    # Some paths, such as py.path's, are iterable: over their folder.
    one = isinstance(paths, str | bytes | os.PathLike) or not isinstance(paths, Iterable)
    several = [paths] if one else list(paths)
    if any(path in ("", b"") for path in several):
        raise ImageFileError("a path is empty; name a file or folder, . for the present one.")
    return [as_path(path) for path in several]


def name_in(folder: Path, path: Path) -> str:
    """The name of a picture within a folder, without extension, in one of the forms that Unicode has for it (NFC).

    File systems and archives differ in whether "ä" is one character or two.
    """
    return unicodedata.normalize("NFC", path.relative_to(folder).with_suffix("").as_posix())


def is_broken_link(path: Path) -> bool:
    """Whether `path` is a symbolic link to what is not there."""
    return path.is_symlink() and not path.exists()


def natural_key(name: str) -> str:
    """Sort key under which numbers inside names count as numbers: 'img2' before 'img10'."""
    return "".join(_number_key(part) if part.isdecimal() else f"\1{part}\0" for part in re.findall(r"\d+|\D+", name))


def _number_key(digits: str) -> str:
    # One text instead of numbers and texts in a list: a million names are sorted in a tenth of the memory.
    number = str(int(digits))
    return f"\0{chr(len(number))}{number}{digits}\0"


def _files(root: Path, recursive: bool, unread: dict[str, str]) -> Iterator[str]:
    if not root.is_dir():
        raise ImageFileError(f"no folder '{root}': expected a folder of pictures.")
    folders, seen = [os.fspath(root)], set()
    while folders:
        folder = folders.pop()
        # A link to a folder above would be followed for ever.
        real = os.path.realpath(folder)
        if real in seen:
            continue
        seen.add(real)
        try:
            entries = list(os.scandir(folder))
        except OSError as error:
            unread[folder] = f"folder '{folder}' cannot be read: {error.strerror or error}."
            continue
        for entry in entries:
            if _holds(entry.is_dir):
                folders += [entry.path] if recursive and entry.name != _NOTES_FOLDER else []
            elif _counts(entry):
                yield entry.path


def _holds(question: Callable[[], bool]) -> bool:
    try:
        return question()
    except OSError:
        # A link that leads to itself is neither file nor folder; whoever reads it as a picture says so.
        return False


def _counts(entry: os.DirEntry) -> bool:
    is_file = _holds(entry.is_file) or (entry.is_symlink() and not os.path.exists(entry.path))
    return is_file and not entry.name.startswith(_NOTES_PREFIX) and entry.name != _NOTES_FOLDER
