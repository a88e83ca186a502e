"""Decoded pictures in one file that is mapped into memory, so that a crop reads only its own rows.

A pack is an uncompressed `.npz` that `numpy.load` reads too: one array per picture, named by its path from the packed
folder, and at the end `index.json`, which says where the pixels lie and what file they were decoded from.
"""

import contextlib
import json
import mmap
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from dtir.core.atomic import atomic_write
from dtir.core.digests import file_sha256
from dtir.core.errors import DatasetError
from dtir.imaging.files import read_rgb
from dtir.imaging.listing import path_list

INDEX = "index.json"
VERSION = 1

_NAMED_AT_MOST = 3


class PackedPicture(NamedTuple):
    """Where a picture lies in a pack, and the file that it was decoded from.

    Attributes:
        offset: first byte of the pixels, uint8 (height, width, 3), RGB, in C order.
        height: rows.
        width: columns.
        size: bytes of the file.
        mtime_ns: the file's time of modification, in nanoseconds.
        sha256: hash of the file, hexadecimal.
    """

    offset: int
    height: int
    width: int
    size: int
    mtime_ns: int
    sha256: str


class PackedPictures:
    """The pictures of a pack, read without decoding; they and only they are what `read_rgb` gave when it was made.

    The file is mapped read-only: processes share it, the system's page cache holds what was read of it, and nothing
    has to be copied to a worker but two paths.

    Args:
        file: the pack, as `write_pack` made it.
        root: folder that was packed, in its present place.

    Raises:
        DatasetError: the file is missing, incomplete, no pack, or of another version.
    """

    def __init__(self, file: str | os.PathLike, root: str | os.PathLike):
        self.file, self.root = Path(file), Path(root)
        with self._explained():
            self._pictures = _read_index(self.file)
            with open(self.file, "rb") as stream:
                self._bytes = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def __reduce__(self):
        return PackedPictures, (self.file, self.root)

    def __len__(self) -> int:
        return len(self._pictures)

    def __iter__(self) -> Iterator[np.ndarray]:
        """Goes through the pictures as `read` returns them, in the order in which they were packed."""
        return map(self._view, self._pictures.values())

    def read(self, path: str | os.PathLike) -> np.ndarray:
        """Returns the picture of that file, uint8 (H, W, 3), RGB, read-only; nothing of it is read yet.

        Raises:
            DatasetError: the pack has no such picture.
        """
        picture = self._find(path)
        if picture is None:
            raise DatasetError(f"the pack '{self.file}' lacks '{path}'. {self._advice()}")
        return self._view(picture)

    def check(self, paths: Iterable[str | os.PathLike]) -> None:
        """Compares files with what was packed: their size and time of modification, and if only the time differs, hash.

        Raises:
            DatasetError: the pack lacks some of the files, or they have changed since.
        """
        wrong = [f"'{path}' {problem}" for path in path_list(paths) if (problem := self._problem(path))]
        if wrong:
            rest = f"; and {len(wrong) - _NAMED_AT_MOST} more" if len(wrong) > _NAMED_AT_MOST else ""
            raise DatasetError(
                f"the pack '{self.file}' does not fit its pictures: {'; '.join(wrong[:_NAMED_AT_MOST])}{rest}. "
                f"{self._advice()}"
            )

    def _find(self, path: str | os.PathLike) -> PackedPicture | None:
        path = Path(path)
        return self._pictures.get(_name(self.root, path)) if path.is_relative_to(self.root) else None

    def _view(self, picture: PackedPicture) -> np.ndarray:
        shape = (picture.height, picture.width, 3)
        return np.frombuffer(self._bytes, np.uint8, picture.height * picture.width * 3, picture.offset).reshape(shape)

    def _problem(self, path: str | os.PathLike) -> str | None:
        picture = self._find(path)
        if picture is None:
            return "is not in it"
        status = _stat(path)
        same = status.st_size == picture.size and (
            status.st_mtime_ns == picture.mtime_ns or _sha256(path) == picture.sha256
        )
        return None if same else "has changed since it was packed"

    def _advice(self) -> str:
        return f"Pack the folder: python tools/dataset_converters/pack.py '{self.root}' --out '{self.file}'"

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise DatasetError(f"no pack '{self.file}'. {self._advice()}") from error
        except OSError as error:
            raise DatasetError(f"cannot read the pack '{self.file}': {error.strerror or error}.") from error
        except (zipfile.BadZipFile, KeyError, TypeError, ValueError) as error:
            raise DatasetError(f"'{self.file}' is no pack, or not all of one ({error}). {self._advice()}") from error


def write_pack(file: str | os.PathLike, root: str | os.PathLike, paths: Iterable[Path]) -> None:
    """Decodes pictures into a pack, which appears whole or not at all.

    Args:
        file: the pack to write; one that is there is replaced.
        root: folder that holds the pictures; their paths from it are their names in the pack.
        paths: the pictures, one at a time in memory.

    Raises:
        DatasetError: the pack cannot be written, or a picture's name is no text in UTF-8.
        ImageFileError: a picture cannot be read.
    """
    try:
        with atomic_write(file) as stream, zipfile.ZipFile(stream, "w") as archive:
            pictures = dict(_add_picture(archive, stream, root, path) for path in path_list(paths))
            index = {"version": VERSION, "index_at": stream.tell(), "pictures": pictures}
            archive.writestr(zipfile.ZipInfo(INDEX), json.dumps(index))
    except OSError as error:
        raise DatasetError(
            f"cannot write the pack '{file}': {error.strerror or error}. Nothing was written; check that the folder "
            "may be written to and that the disk has room (3 bytes per pixel)."
        ) from error


def _add_picture(
    archive: zipfile.ZipFile, stream: IO, root: str | os.PathLike, path: Path
) -> tuple[str, PackedPicture]:
    # Looked at before it is read: a file that changes meanwhile is found to have changed.
    name, status, digest = _name(root, path), _stat(path), _sha256(path)
    picture = read_rgb(path)
    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
        np.lib.format.write_array(member, picture, allow_pickle=False)
        offset = stream.tell() - picture.nbytes
    return name, PackedPicture(offset, *picture.shape[:2], status.st_size, status.st_mtime_ns, digest)


def _read_index(file: Path) -> dict[str, PackedPicture]:
    with zipfile.ZipFile(file) as archive:
        entry = archive.getinfo(INDEX)
        index = json.loads(archive.read(entry))
    if index["version"] != VERSION:
        raise ValueError(f"its version is {index['version']}, expected {VERSION}")
    if index["index_at"] != entry.header_offset:
        raise ValueError("another program has rewritten it")
    return {name: PackedPicture(*values) for name, values in index["pictures"].items()}


def _name(root: str | os.PathLike, path: Path) -> str:
    name = path.relative_to(root).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DatasetError(f"the name of {os.fsencode(path)!r} is no text in UTF-8: rename the file.") from error
    return name


def _stat(path: str | os.PathLike) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise DatasetError(f"cannot read '{path}': {error.strerror or error}.") from error


def _sha256(path: str | os.PathLike) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise DatasetError(f"cannot read '{path}': {error.strerror or error}.") from error
