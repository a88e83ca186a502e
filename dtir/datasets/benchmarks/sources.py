"""Where published pictures are read from: a folder, a zip, or a tar of any compression."""

import os
import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from dtir.core.errors import DatasetError
from dtir.imaging.formats import IMAGE_EXTENSIONS
from dtir.imaging.listing import list_images

_BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, OSError)


class Source(ABC):
    """Pictures by name. A name starts with that of the folder or archive, so that `train.zip` and `train/` are alike.

    Attributes:
        path: The folder or archive.
    """

    def __init__(self, path: Path):
        self.path = path

    @abstractmethod
    def names(self) -> list[str]:
        """Names of all pictures, "train/scene/blur/1.png" for example."""

    @abstractmethod
    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the content of these pictures, in the order that is fast.

        Raises:
            DatasetError: The archive is damaged.
        """

    def file(self, name: str) -> Path | None:
        """The file that holds the picture, None in an archive."""
        return None

    def stamp(self) -> list:
        """What changes when the archive is replaced."""
        status = self.path.stat()
        return [str(self.path), status.st_size, status.st_mtime_ns]


@dataclass(frozen=True)
class Member:
    """A picture of a source."""

    source: Source
    name: str

    def __str__(self) -> str:
        return f"{self.source.path}: {self.name}"

    @property
    def suffix(self) -> str:
        """The extension with its dot, in lower case."""
        return PurePosixPath(self.name).suffix.lower()


class FolderSource(Source):
    """A folder with all below it, links followed."""

    def names(self) -> list[str]:
        """Names of all pictures."""
        found = (path.relative_to(self.path).as_posix() for path in list_images(self.path, recursive=True))
        return [f"{self.path.name}/{name}" for name in found if _is_wanted(name)]

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the content of these pictures."""
        for name in names:
            try:
                yield name, self.file(name).read_bytes()
            except OSError as error:
                raise _damaged(self.file(name), error) from error

    def file(self, name: str) -> Path:
        """The file that holds the picture."""
        return self.path / name.partition("/")[2]

    def stamp(self) -> list:
        """The folder's path; its pictures may change in place."""
        return [str(self.path)]


class ZipSource(Source):
    """A zip archive, read in place."""

    def names(self) -> list[str]:
        """Names of all pictures."""
        return sorted(self._entries())

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the content of these pictures."""
        entries = self._entries()
        try:
            with zipfile.ZipFile(self.path) as archive:
                for name in names:
                    yield name, archive.read(entries[name])
        except _BROKEN as error:
            raise _damaged(self.path, error) from error

    def _entries(self) -> dict[str, zipfile.ZipInfo]:
        try:
            with zipfile.ZipFile(self.path) as archive:
                entries = archive.infolist()
        except _BROKEN as error:
            raise _damaged(self.path, error) from error
        if any(entry.flag_bits & 1 for entry in entries):
            raise DatasetError(f"'{self.path}' is encrypted: unpack it with its password and give the folder.")
        named = {entry.filename.replace("\\", "/"): entry for entry in entries}
        return {f"{_stem(self.path)}/{name}": entry for name, entry in named.items() if _is_wanted(name)}


class TarSource(Source):
    """A tar archive, compressed or not, read from front to back."""

    def names(self) -> list[str]:
        """Names of all pictures."""
        return sorted(name for name, _, _ in self._walk())

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Yields the content of these pictures in the order of the archive."""
        wanted = set(names)
        for name, archive, entry in self._walk():
            if name in wanted:
                yield name, archive.extractfile(entry).read()

    def _walk(self) -> Iterator[tuple[str, tarfile.TarFile, tarfile.TarInfo]]:
        try:
            with tarfile.open(self.path) as archive:
                for entry in archive:
                    name = PurePosixPath(entry.name).as_posix()
                    if entry.isfile() and _is_wanted(name):
                        yield f"{_stem(self.path)}/{name}", archive, entry
        except _BROKEN as error:
            raise _damaged(self.path, error) from error


def open_source(path: str | os.PathLike) -> Source:
    """Returns the source that `path` is, told by its content: Rain100H's tar is called .gz.

    Raises:
        DatasetError: It does not exist, or is neither a folder nor an archive.
    """
    path = Path(os.path.abspath(path))
    if path.is_dir():
        return FolderSource(path)
    if not path.is_file():
        raise DatasetError(f"no source '{path}': give the published archive, or the folder that it was unpacked to.")
    if zipfile.is_zipfile(path):
        return ZipSource(path)
    if tarfile.is_tarfile(path):
        return TarSource(path)
    raise DatasetError(
        f"'{path}' is no folder, zip or tar, or is damaged: download it again, or unpack it (rar, 7z) and give the "
        "folder."
    )


def _is_wanted(name: str) -> bool:
    path = PurePosixPath(name)
    # What macOS adds to archives looks like pictures.
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in path.parts)
    return path.suffix.lower() in IMAGE_EXTENSIONS and not hidden


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def _damaged(path: Path, error: BaseException) -> DatasetError:
    return DatasetError(f"'{path}' cannot be read: {error}. It is damaged or incomplete: download it again.")
