"""The text of a run's config is made once, and again when the config has changed."""

import copy
import pickle

import pytest
from mmengine.config import Config

from dtir.config.text import FormattedOnce


@pytest.fixture
def formatted(monkeypatch) -> list[str]:
    """Texts that were made."""
    made, text = [], Config.pretty_text.fget
    monkeypatch.setattr(Config, "pretty_text", property(lambda self: made.append(text(self)) or made[-1]))
    return made


def test_the_text_is_made_once(formatted, tmp_path):
    config = Config({"model": {"type": "Net", "width": 8}})
    text = config.pretty_text
    kept = FormattedOnce.of(config)
    formatted.clear()
    assert [kept.pretty_text, kept.dump(), kept.pretty_text] == [text] * 3
    kept.dump(tmp_path / "c.py")
    assert (tmp_path / "c.py").read_text() == text
    assert copy.deepcopy(kept).pretty_text == text
    assert formatted == [text]


def test_a_changed_config_has_another_text(formatted):
    kept = FormattedOnce.of(Config({"model": {"type": "Net", "width": 8}}))
    assert "width=8" in kept.pretty_text
    kept.model.width = 9
    assert "width=9" in kept.pretty_text
    kept.merge_from_dict({"model.width": 10})
    assert "width=10" in pickle.loads(pickle.dumps(kept)).pretty_text
    assert list(kept) == ["model"]
