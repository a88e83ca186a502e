"""The text of a run's config is Python that reads back as the config."""

import copy
import pickle

import pytest
from mmengine.config import Config

from dtir.config.text import WIDTH, TextConfig, config_text

LONG = {
    "model": {
        "type": "Net",
        "width": 8,
        "matched_t": {"motion-blurry": 5, "hazy": 10},
        "class": None,
        "blocks": [{"kind": "wide", "channels": number, "note": "it's"} for number in range(12)],
    },
    "stages": ({"share": (0.5,), "lr": 1e-3}, (), {}, []),
    "names": ["a" * 50, "b" * 50, "c" * 50],
    "empty": {},
    "flag": True,
}


@pytest.fixture
def text(tmp_path) -> str:
    return config_text(LONG)


def test_it_reads_back_as_the_same_values(text, tmp_path):
    (tmp_path / "config.py").write_text(text, encoding="utf-8")
    assert Config.fromfile(tmp_path / "config.py").to_dict() == LONG


def test_lines_are_short_and_what_fits_stands_in_one(text):
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "empty = dict()\nflag = True\n" in text
    assert (
        "    matched_t={'hazy': 10, 'motion-blurry': 5},\n" not in text
    )  # beside a key that is no name, all are texts
    assert "    'matched_t': {'hazy': 10, 'motion-blurry': 5},\n" in text
    assert """        dict(channels=11, kind='wide', note="it's"),\n""" in text
    assert "(dict(lr=0.001, share=(0.5,)), (), dict(), [])\n" in text


def test_a_config_is_written_by_it_and_follows_its_changes(tmp_path):
    config = Config({"model": {"type": "Net", "width": 8}})
    kept = TextConfig.of(config)
    assert kept.pretty_text == "model = dict(type='Net', width=8)\n"
    kept.dump(tmp_path / "c.py")
    assert (tmp_path / "c.py").read_text() == kept.pretty_text == copy.deepcopy(kept).pretty_text
    kept.model.width = 9
    assert "width=9" in kept.pretty_text
    kept.merge_from_dict({"model.width": 10})
    assert "width=10" in pickle.loads(pickle.dumps(kept)).pretty_text
    assert list(kept) == ["model"]


@pytest.mark.parametrize("length", range(WIDTH - 14, WIDTH - 4))
def test_a_line_is_broken_when_it_is_full(length):
    text = config_text({"key": ["x" * length]})
    assert ("\n" in text.strip()) == (len(f"key = ['{'x' * length}']") >= WIDTH)
