import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from dtir.core.errors import CheckpointError, ConfigError
from dtir.models.text import (
    EmbeddingFile,
    InstructionHead,
    SentenceTransformersEncoder,
    TransformersEncoder,
    find_text_encoder,
)
from dtir.registry import TEXT_ENCODERS

SENTENCES = ["Remove the rain.", "make it brighter"]


def vectors(dim=6):
    return torch.randn(2, dim, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[".npz", ".safetensors"])
def file(request, tmp_path):
    path = tmp_path / f"embeddings{request.param}"
    if request.param == ".npz":
        np.savez(path, sentences=np.array(SENTENCES), embeddings=vectors().numpy())
    else:
        save_file({"embeddings": vectors()}, path, {"sentences": json.dumps(SENTENCES)})
    return path


def test_embeddings_of_a_file(file):
    encoder = find_text_encoder(file)
    assert isinstance(encoder, EmbeddingFile)
    assert encoder.dim == 6
    assert torch.equal(encoder.encode(["  make it  Brighter! ", "remove the rain"]), vectors().flip(0))
    with pytest.raises(ConfigError, match=r"no embedding of 'remove the train'. Did you mean 'Remove the rain.'\?"):
        encoder.encode(["remove the train"])


def test_a_file_of_something_else(tmp_path):
    with pytest.raises(CheckpointError, match=r"no file of embeddings at .*none\.npz"):
        find_text_encoder(tmp_path / "none.npz")
    np.savez(tmp_path / "a.npz", sentences=np.array(SENTENCES))
    with pytest.raises(CheckpointError, match="expected 'sentences' and 'embeddings'"):
        find_text_encoder(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", sentences=np.array(SENTENCES), embeddings=np.zeros((3, 4)))
    with pytest.raises(CheckpointError, match=r"2 sentences and embeddings of shape \(3, 4\)"):
        find_text_encoder(tmp_path / "a.npz")


@pytest.fixture
def model_folder(tmp_path):
    """A tiny model of random weights, as its library writes it."""
    transformers = pytest.importorskip(
        "transformers", reason="transformers is not installed; pip install -e .[language]"
    )
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "remove", "the", "rain", "it"]))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "BertTokenizer"}))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=8, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    transformers.BertModel(config).save_pretrained(tmp_path)
    return tmp_path


def test_a_model_pools_over_the_words(model_folder):
    encoder = find_text_encoder(model_folder)
    assert isinstance(encoder, TransformersEncoder)
    found = encoder.encode(["remove the rain", "it"])
    assert encoder.dim == 16
    torch.testing.assert_close(found.norm(dim=1), torch.ones(2))
    # What a sentence gives does not depend on the padding that a longer one beside it needs.
    torch.testing.assert_close(found[1:], encoder.encode(["it"]))
    tokens = encoder.tokenizer(["remove the rain"], return_tensors="pt")
    with torch.no_grad():
        words = encoder.model(**tokens).last_hidden_state
    torch.testing.assert_close(found[:1], F.normalize(words.mean(1), dim=1))
    first = TransformersEncoder(model_folder, pooling="first", normalize=False)
    torch.testing.assert_close(first.encode(["remove the rain"]), words[:, 0])


def test_a_folder_of_sentence_transformers(model_folder, tmp_path_factory):
    library = pytest.importorskip(
        "sentence_transformers", reason="sentence-transformers is not installed; pip install -e .[language]"
    )
    place = tmp_path_factory.mktemp("sentences")
    library.SentenceTransformer(str(model_folder), device="cpu", local_files_only=True).save(str(place))
    found = SentenceTransformersEncoder(place).encode(["remove the rain", "it"])
    # It pools over the words where a folder does not say otherwise.
    torch.testing.assert_close(found, TransformersEncoder(model_folder).encode(["remove the rain", "it"]))


def test_models_are_never_downloaded(tmp_path):
    pytest.importorskip("transformers", reason="transformers is not installed; pip install -e .[language]")
    with pytest.raises(CheckpointError, match=r"no sentence encoder .* on this machine .*dtir downloads none"):
        find_text_encoder(tmp_path / "none")


def test_pooling_is_checked(tmp_path):
    with pytest.raises(ConfigError, match="pooling='max'; expected one of mean, first"):
        TEXT_ENCODERS.build({"type": "TransformersEncoder", "path": str(tmp_path), "pooling": "max"})


def test_the_head_is_that_of_the_published_code():
    torch.manual_seed(0)
    head, x = InstructionHead(6, 4, 7), vectors()
    instruction, logits = head(x)
    expected = x @ head.fc1.weight.T + head.fc1.bias
    expected = expected / expected.norm(dim=1, keepdim=True)
    torch.testing.assert_close(instruction, expected)
    torch.testing.assert_close(logits, expected @ head.fc2.weight.T + head.fc2.bias)
    assert InstructionHead.settings_of(head.state_dict()) == {"embedding_dim": 6, "hidden_dim": 4, "num_classes": 7}
    published = {key: tuple(value.shape) for key, value in InstructionHead().state_dict().items()}
    assert published == {"fc1.weight": (256, 384), "fc1.bias": (256,), "fc2.weight": (7, 256), "fc2.bias": (7,)}
