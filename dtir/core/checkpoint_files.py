"""What can be said of a checkpoint file from its path, its size and its first bytes, without importing torch."""

import json
import re
import zipfile
from pathlib import Path

from dtir.core.errors import CheckpointError
from dtir.core.names import did_you_mean

LAST_CHECKPOINT = "last_checkpoint"
# Of Windows' drives the scheme has one letter.
URL = re.compile(r"[a-z][a-z0-9+.-]+:/+", re.IGNORECASE)
HEAD = 512
ZIP = b"PK\x03\x04"
# A safetensors file begins with the length of its header, 8 bytes, and the header, a JSON object.
LENGTH = 8
LONGEST_HEADER = 100_000_000
WEB_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head", b"<script")
LFS_POINTER = b"version https://git-lfs"
SHOWN = 40


def check_checkpoint_file(path: str | Path) -> Path:
    """Checks that a path is a file that may be a checkpoint, and returns it.

    Raises:
        CheckpointError: It is a URL, a folder, missing, empty, cut off, or what is often saved in place of the file: a
            web page, another text, or the pointer of git-lfs.
    """
    path = local_path(path)
    if path.is_dir():
        raise CheckpointError(f"'{path}' is a folder; name the checkpoint file in it.")
    if path.is_symlink() and not path.exists():
        raise CheckpointError(f"'{path}' is a link to '{path.readlink()}', which is not there.")
    if not path.is_file():
        beside = [each.name for each in path.parent.glob("*")] if path.parent.is_dir() else []
        raise CheckpointError(f"no checkpoint at '{path}'.{did_you_mean(path.name, beside)}")
    fault = _fault(path)
    if fault:
        raise CheckpointError(f"'{path}' {fault}")
    return path


def local_path(path: str | Path) -> Path:
    """The path itself.

    Raises:
        CheckpointError: It is a URL.
    """
    if URL.match(str(path)):
        raise CheckpointError(f"'{path}' is a URL; download the file, and give the path where it lies.")
    return Path(path)


def is_safetensors(path: str | Path) -> bool:
    """Whether a file begins as a safetensors file does."""
    with open(path, "rb") as file:
        head = file.read(LENGTH + 1)
    return _header_length(head) is not None


def _fault(path: Path) -> str | None:
    """What is wrong with a file, in words that follow its name; None where nothing is seen."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(HEAD)
    start = head.lstrip().lower()
    if not head:
        return "is empty; copy or download it again."
    if start.startswith(WEB_PAGES):
        return "is a web page, not a checkpoint: what a browser shows in place of the file. Download the file itself."
    if start.startswith(LFS_POINTER):
        return "is the pointer of a git-lfs file, not the file itself; get that with git lfs pull, or download it."
    if head.startswith(ZIP) and not zipfile.is_zipfile(path):
        return f"is cut off after {size} bytes; copy or download it again."
    if _header_length(head) is not None:
        return _safetensors_fault(path, size)
    if _is_text(head):
        return f"is a text file, not a checkpoint; it begins with {head[:SHOWN].decode('ascii', 'replace')!r}."
    return None


def _header_length(head: bytes) -> int | None:
    """The length of the header of a safetensors file that begins so; None for any other file."""
    length = int.from_bytes(head[:LENGTH], "little")
    return length if head[LENGTH : LENGTH + 1] == b"{" and 2 <= length <= LONGEST_HEADER else None


def _safetensors_fault(path: Path, size: int) -> str | None:
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(LENGTH), "little")
        header = file.read(length)
    try:
        tensors = [value for key, value in json.loads(header).items() if key != "__metadata__"]
        expected = LENGTH + length + max((value["data_offsets"][1] for value in tensors), default=0)
    except (ValueError, TypeError, KeyError, AttributeError):
        return f"has a damaged header, or is cut off after {size} bytes; copy or download it again."
    return f"is cut off after {size} of {expected} bytes; copy or download it again." if size < expected else None


def _is_text(head: bytes) -> bool:
    return all(32 <= byte < 127 or byte in b"\t\r\n" for byte in head)


def find_last_checkpoint(work_dir: str | Path) -> Path | None:
    """The newest checkpoint of a run, as its `last_checkpoint` file names it; None if the run has none.

    Raises:
        CheckpointError: The named file is gone.
    """
    pointer = Path(work_dir) / LAST_CHECKPOINT
    if not pointer.is_file():
        return None
    path = Path(work_dir) / pointer.read_text(encoding="utf-8").strip()
    if not path.is_file():
        raise CheckpointError(f"'{pointer}' names '{path.name}', which is not there. Pass a checkpoint to --resume.")
    return path
