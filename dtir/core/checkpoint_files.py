"""What can be said of a checkpoint file from its path, its size and its first bytes, without importing torch."""

import codecs
import json
import re
import zipfile
from pathlib import Path

from dtir.core.errors import CheckpointError
from dtir.core.names import did_you_mean
from dtir.core.paths import as_path

LAST_CHECKPOINT = "last_checkpoint"
# Of Windows' drives the scheme has one letter.
URL = re.compile(r"[a-z][a-z0-9+.-]+:/+", re.IGNORECASE)
HEAD = 512
ZIP = b"PK\x03\x04"
# A safetensors file begins with the length of its header, 8 bytes, and the header, a JSON object.
LENGTH = 8
LONGEST_HEADER = 100_000_000
WEB_PAGES = ("<!doctype", "<html", "<?xml", "<head", "<script", "<!--")
LFS_POINTER = "version https://git-lfs"
# Of files that are saved or named in place of one, by how they begin.
OTHER_FILES = {
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"%PDF": "a PDF",
    b"\x1f\x8b": "packed with gzip; unpack it first",
    b"7z\xbc\xaf": "a 7z archive; unpack it first",
    b"Rar!": "a RAR archive; unpack it first",
}
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
        ConfigError: It is neither a text nor a `Path`.
    """
    path = as_path(path) if not isinstance(path, str) else path
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
    text = _text(head)
    start = (text or "").lstrip().lower()
    if not head:
        return "is empty; copy or download it again."
    if not head.strip(b"\0"):
        return "begins with zeros alone, as what a broken download or disk leaves; copy or download it again."
    if start.startswith(WEB_PAGES):
        return "is a web page, not a checkpoint: what a browser shows in place of the file. Download the file itself."
    if start.startswith(LFS_POINTER):
        return "is the pointer of a git-lfs file, not the file itself; get that with git lfs pull, or download it."
    for beginning, kind in OTHER_FILES.items():
        if head.startswith(beginning):
            return f"is no checkpoint: it is {kind}."
    if head.startswith(ZIP):
        return _zip_fault(path, size)
    if _header_length(head) is not None:
        return _safetensors_fault(path, size)
    if text is not None:
        return f"is a text file, not a checkpoint; it begins with {text[:SHOWN]!r}."
    return None


def _zip_fault(path: Path, size: int) -> str | None:
    """Of a file that begins as an archive, in which `torch.save` writes data.pkl and `torch.jit.save` constants.pkl."""
    if not zipfile.is_zipfile(path):
        return f"is cut off after {size} bytes; copy or download it again."
    with zipfile.ZipFile(path) as archive:
        names = {name.rpartition("/")[2] for name in archive.namelist()}
    if "constants.pkl" in names:
        return "is a TorchScript program, not a checkpoint; save the network's state_dict instead."
    return None if "data.pkl" in names else "is no checkpoint: it is a zip archive; unpack it first."


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


def _text(head: bytes) -> str | None:
    """The beginning of a file of text, in UTF-8 or, where it is marked so, UTF-16; None for any other file."""
    encoding = "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    # The last character may be cut in two.
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head)
    return (
        text
        if all(letter.isprintable() or letter in "\t\r\n" for letter in text)
        and "\N{REPLACEMENT CHARACTER}" not in text
        else None
    )


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
