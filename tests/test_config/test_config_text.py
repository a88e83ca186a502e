"""The text of a run's config is Python that reads back as the config."""

import copy
import enum
import math
import pickle
from collections import OrderedDict
from pathlib import PurePosixPath

import numpy as np
import pytest
from mmengine.config import Config

from dtir.config.text import WIDTH, TextConfig, config_text
from dtir.core.errors import ConfigError

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


class Level(enum.IntEnum):
    HIGH = 3


def test_values_of_other_types_read_back_as_plain_ones(tmp_path):
    values = {
        "rate": np.float64(0.1),
        "level": Level.HIGH,
        "most": [math.inf, -math.inf],
        "root": PurePosixPath("data/clean"),
        "kind": {"type": OrderedDict, "act": math.sqrt},
        "numbers": {1: "one", 2: {"kept"}},
    }
    (tmp_path / "config.py").write_text(config_text(values), encoding="utf-8")
    assert Config.fromfile(tmp_path / "config.py").to_dict() == {
        "rate": 0.1,
        "level": 3,
        "most": [math.inf, -math.inf],
        "root": "data/clean",
        "kind": {"type": "collections.OrderedDict", "act": "math.sqrt"},
        "numbers": {1: "one", 2: {"kept"}},
    }
    assert config_text({"none": math.nan}) == "none = float('nan')\n"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": {"net": object()}}, "of type object, which cannot be written"),
        ({"my-key": 1}, "key 'my-key' is no name"),
        ({"class": 1}, "key 'class' is no name"),
        ({3: 1}, "key 3 is no name"),
    ],
)
def test_what_cannot_be_written_is_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        config_text(settings)


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
