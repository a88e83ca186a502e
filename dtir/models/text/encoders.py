"""Sentences to embeddings: from a file, or with a model that lies on this machine. Nothing here is ever downloaded."""

import json
import re
import unicodedata
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn import functional as F

from dtir.core.errors import CheckpointError, ConfigError
from dtir.core.extras import needs_extra
from dtir.core.names import did_you_mean
from dtir.registry import TEXT_ENCODERS

FILES = (".npz", ".safetensors")
POOLINGS = ("mean", "first")
# Of a folder that sentence-transformers wrote.
MODULES = "modules.json"
# Sentences of a file that an error names.
SHOWN = 5


class TextEncoder(ABC):
    """Turns sentences into vectors.

    Attributes:
        dim: Length of the vectors.
    """

    dim: int

    @abstractmethod
    def encode(self, sentences: Sequence[str]) -> Tensor:
        """Sentences to float32 (N, dim) on the CPU.

        Raises:
            ConfigError: It has no embedding of one of them.
        """


@TEXT_ENCODERS.register_module()
class EmbeddingFile(TextEncoder):
    """Embeddings that were computed elsewhere; of the sentences in the file, and of no others.

    Case, spaces and a final mark do not matter.

    Args:
        path: A .npz of `sentences` (N,) and `embeddings` (N, dim), or a .safetensors of `embeddings` whose metadata
            hold `sentences`, a JSON list.

    Raises:
        CheckpointError: The file is not there or holds something else.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        sentences, embeddings = _read_embeddings(self.path)
        if embeddings.ndim != 2 or len(embeddings) != len(sentences) or not len(sentences):
            raise CheckpointError(
                f"'{path}' holds {len(sentences)} sentences and embeddings of shape {tuple(embeddings.shape)}; "
                "expected one row for each sentence."
            )
        self.sentences = tuple(sentences)
        self.dim = embeddings.shape[1]
        self._rows = dict(zip(map(_plain, sentences), embeddings.float(), strict=True))

    def encode(self, sentences: Sequence[str]) -> Tensor:
        """See `TextEncoder`."""
        return torch.stack([self._row(sentence) for sentence in sentences])

    def _row(self, sentence: str) -> Tensor:
        row = self._rows.get(_plain(sentence))
        if row is None:
            shown = "; ".join(self.sentences[:SHOWN])
            raise ConfigError(
                f"'{self.path}' has no embedding of '{sentence}'.{did_you_mean(sentence, self.sentences)} It has "
                f"{len(self.sentences)}: {shown}{' ...' if len(self.sentences) > SHOWN else ''}"
            )
        return row


@TEXT_ENCODERS.register_module()
class TransformersEncoder(TextEncoder):
    """A model of the library transformers, as InstructIR reads sentences: pooled over the words, of length 1.

    Args:
        path: Folder of the model and its tokenizer, or the name of one that is in the library's cache already.
        pooling: "mean" over the words, or "first", the vector of the first token.
        normalize: Whether the vectors have length 1.

    Raises:
        MissingExtraError: transformers is not installed.
        CheckpointError: There is no such model on this machine.
        ConfigError: The pooling is not known.
    """

    def __init__(self, path: str | Path, pooling: str = "mean", normalize: bool = True) -> None:
        if pooling not in POOLINGS:
            raise ConfigError(f"pooling='{pooling}'; expected one of {', '.join(POOLINGS)}.")
        with needs_extra("this text encoder", "language"):
            from transformers import AutoModel, AutoTokenizer
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(str(path), local_files_only=True)
            self.model = AutoModel.from_pretrained(str(path), local_files_only=True).eval()
        except (OSError, ValueError, KeyError) as error:
            raise _missing_model(path, error) from error
        self.pooling, self.normalize = pooling, normalize
        self.dim = self.model.config.hidden_size

    @torch.no_grad()
    def encode(self, sentences: Sequence[str]) -> Tensor:
        """See `TextEncoder`."""
        tokens = self.tokenizer(list(sentences), padding=True, truncation=True, return_tensors="pt")
        words = self.model(**tokens).last_hidden_state.float()
        pooled = words[:, 0] if self.pooling == "first" else _mean(words, tokens["attention_mask"])
        return F.normalize(pooled, dim=1) if self.normalize else pooled


@TEXT_ENCODERS.register_module()
class SentenceTransformersEncoder(TextEncoder):
    """A model of the library sentence-transformers, with the pooling that its folder describes.

    Args:
        path: Folder of the model, or the name of one that is in the library's cache already.
        normalize: Whether the vectors have length 1.

    Raises:
        MissingExtraError: sentence-transformers is not installed.
        CheckpointError: There is no such model on this machine.
    """

    def __init__(self, path: str | Path, normalize: bool = True) -> None:
        with needs_extra("this text encoder", "language"):
            from sentence_transformers import SentenceTransformer
        try:
            self.model = SentenceTransformer(str(path), device="cpu", local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise _missing_model(path, error) from error
        self.normalize = normalize
        self.dim = self.encode([""]).shape[1]

    def encode(self, sentences: Sequence[str]) -> Tensor:
        """See `TextEncoder`."""
        vectors = self.model.encode(
            list(sentences), convert_to_tensor=True, normalize_embeddings=self.normalize, show_progress_bar=False
        )
        # What the library made in inference mode could not be used for a training.
        return vectors.float().cpu().clone()


def find_text_encoder(place: str | Path) -> TextEncoder:
    """The encoder for what a user names.

    Args:
        place: A file of embeddings (.npz, .safetensors); a folder of a sentence-transformers or transformers model; or
            the name of a transformers model that is in the library's cache.

    Raises:
        CheckpointError: There is nothing of the kind.
        MissingExtraError: The library that reads it is not installed.
    """
    path = Path(place)
    if path.suffix in FILES:
        return EmbeddingFile(path)
    if (path / MODULES).is_file() and not (path / "config.json").is_file():
        return SentenceTransformersEncoder(path)
    return TransformersEncoder(place)


def _read_embeddings(path: Path) -> tuple[list[str], Tensor]:
    if not path.is_file():
        raise CheckpointError(f"no file of embeddings at '{path}'.")
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return [str(sentence) for sentence in arrays["sentences"]], torch.from_numpy(arrays["embeddings"])
        with safe_open(path, "pt") as file:
            return json.loads((file.metadata() or {})["sentences"]), file.get_tensor("embeddings")
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, SafetensorError) as error:
        raise CheckpointError(
            f"'{path}' is no file of embeddings; expected 'sentences' and 'embeddings' (of .safetensors, the sentences "
            f"as a JSON list in the metadata): {error}"
        ) from error


def _plain(sentence: str) -> str:
    even = unicodedata.normalize("NFKC", sentence)
    return re.sub(r"\s+", " ", even).strip().rstrip(".!?。").rstrip().casefold()


def _mean(words: Tensor, mask: Tensor) -> Tensor:
    """The mean of vectors (B, N, D) over those that a mask (B, N) counts, (B, D)."""
    counted = mask[..., None].to(words.dtype)
    return (words * counted).sum(1) / counted.sum(1).clamp(min=1e-9)


def _missing_model(path: str | Path, error: Exception) -> CheckpointError:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return CheckpointError(
        f"no sentence encoder '{path}' on this machine ({reason}). Name the folder of one; dtir downloads none: "
        f"'hf download {path}' would fetch it if it is a name of the Hugging Face hub."
    )
