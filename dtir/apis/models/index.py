"""Models that are not in the package: an index names their files, which are downloaded once and kept.

An index is a JSON file, `{"models": [...]}`, of objects with the attributes of `Listed`, in which `file` is a URL, or a
path beside the index. `$DTIR_MODEL_INDEX` says where the index is: a path or a URL.
"""

import hashlib
import json
import logging
import os
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO
from urllib.parse import urljoin, urlparse

import platformdirs

from dtir.apis.models.files import SUFFIX, read_facts
from dtir.core.atomic import atomic_write
from dtir.core.digests import blocks, file_sha256
from dtir.core.errors import CheckpointError

logger = logging.getLogger(__name__)

INDEX_VARIABLE = "DTIR_MODEL_INDEX"
CACHE_VARIABLE = "DTIR_CACHE"
# Seconds without an answer.
TIMEOUT = 20


@dataclass(frozen=True)
class Listed:
    """A model of an index.

    Attributes:
        name: What `--model` takes.
        file: URL of the model file.
        sha256: Of the file, hexadecimal.
        size: Its bytes.
        licence: Under which the weights may be used.
        description: One line for people.
        tasks: What it restores.
        parameters: Their number.
    """

    name: str
    file: str
    sha256: str
    size: int
    licence: str = ""
    description: str = ""
    tasks: tuple[str, ...] = ()
    parameters: int = 0

    def __post_init__(self) -> None:
        if not self.name or Path(self.name).name != self.name:
            raise ValueError(f"'{self.name}' is no name of a model")
        if not isinstance(self.sha256, str) or not isinstance(self.size, int):
            raise ValueError(f"'{self.name}' has no checksum in hexadecimal, or no size in bytes")

    @property
    def kept(self) -> Path:
        """Where the file is, or would be, after a download."""
        return cache_dir() / f"{self.name}-{self.sha256[:16]}{SUFFIX}"


def cache_dir() -> Path:
    """Where downloads are kept: `$DTIR_CACHE`, by default the user's folder for caches."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_path("dtir")) / "models"


def listed_models(place: str | None = None) -> dict[str, Listed]:
    """The models of an index by name; none where there is no index.

    An index that was read from the network is kept, and serves when the network is down.

    Args:
        place: Path or URL of the index; None takes `$DTIR_MODEL_INDEX`.

    Raises:
        CheckpointError: It cannot be read, or is no index.
    """
    place = place or os.environ.get(INDEX_VARIABLE)
    if not place:
        return {}
    base = place if _is_url(place) else Path(place).absolute().as_uri()
    try:
        entries = json.loads(_read_index(base, place))["models"]
        models = [Listed(**{**entry, "file": urljoin(base, entry["file"])}) for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"'{place}' is no index of models ({type(error).__name__}: {error}).") from error
    return {model.name: model for model in models}


def fetch(model: Listed) -> Path:
    """The file of a listed model: as kept, or downloaded; it appears whole and checked or not at all.

    Raises:
        CheckpointError: It cannot be downloaded, or is not the file that the index describes.
    """
    if model.kept.is_file() and model.kept.stat().st_size == model.size:
        return model.kept
    logger.warning("downloading the model %s (%.1f MB) from %s", model.name, model.size / 1e6, model.file)
    try:
        with _opened(model.file) as source, atomic_write(model.kept) as target:
            _copy_checked(source, target, model)
    except (OSError, HTTPException) as error:
        raise CheckpointError(
            f"the model '{model.name}' cannot be downloaded from {model.file} into {model.kept.parent}: "
            f"{_reason(error)}. Once downloaded it needs no network."
        ) from error
    return model.kept


def write_index(folder: str | Path) -> Path:
    """Writes `index.json` beside the model files of a folder, so that the folder can be put on a server.

    Raises:
        CheckpointError: The folder has no model files, or one cannot be read.
    """
    folder = Path(folder)
    models = [_entry(path) for path in sorted(folder.glob(f"*{SUFFIX}"))]
    if not models:
        raise CheckpointError(f"the folder '{folder}' has no model files ({SUFFIX}); dtir models pack writes them.")
    with atomic_write(folder / "index.json", "w", encoding="utf-8") as file:
        json.dump({"models": models}, file, indent=2)
    return folder / "index.json"


def _entry(path: Path) -> dict:
    facts = read_facts(path)
    about = {"licence": facts.licence, "description": facts.description, "parameters": facts.parameters}
    listed = Listed(facts.name, path.name, file_sha256(path), facts.size, tasks=facts.damages, **about)
    return asdict(listed)


def _copy_checked(source: IO[bytes], target: IO[bytes], model: Listed) -> None:
    digest, size = hashlib.sha256(), 0
    for block in blocks(source):
        size += len(block)
        if size > model.size:
            break
        digest.update(block)
        target.write(block)
    if size != model.size or digest.hexdigest() != model.sha256:
        raise CheckpointError(
            f"{model.file} is not the file that the index describes ({'size' if size != model.size else 'checksum'} "
            "differs); nothing was kept. Try again, or tell whoever keeps the index."
        )


def _read_index(base: str, place: str) -> str:
    kept = cache_dir() / f"index-{hashlib.sha256(base.encode()).hexdigest()[:16]}.json"
    try:
        with _opened(base) as file:
            text = file.read().decode()
    except (OSError, HTTPException) as error:
        if not kept.is_file():
            raise CheckpointError(f"the index of models '{place}' cannot be read: {_reason(error)}.") from error
        logger.warning("the index %s cannot be reached (%s); the one of the last time is used.", place, _reason(error))
        return kept.read_text(encoding="utf-8")
    if urlparse(base).scheme != "file":
        _keep(text, kept)
    return text


def _keep(text: str, path: Path) -> None:
    try:
        with atomic_write(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        logger.warning("the index cannot be kept in %s: %s.", path.parent, error.strerror or error)


def _is_url(place: str) -> bool:
    return urlparse(place).scheme in ("http", "https", "file")


def _opened(url: str) -> IO[bytes]:
    if not _is_url(url):
        raise OSError(f"only http, https and file addresses are read, not {url}")
    return urllib.request.urlopen(url, timeout=TIMEOUT)


def _reason(error: Exception) -> object:
    return error.reason if isinstance(error, urllib.error.URLError) else getattr(error, "strerror", None) or error
