"""Values of `--cfg-options`."""

import pytest

from dtir.config.options import read_options
from dtir.core.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 1e-3),
        ("true", True),
        ("None", None),
        ("cosine", "cosine"),
        ("a,b", ["a", "b"]),
        ("[a,1]", ["a", 1]),
        ("(1,2)", (1, 2)),
        ("[(a,b),c]", [("a", "b"), "c"]),
        ("'1'", "1"),
        ("a=b", "a=b"),
        ("/my data/photos", "/my data/photos"),
        ("['/my data', 'b, c']", ["/my data", "b, c"]),
        ("[dict(type='LayerDecay', a=-1)]", [{"type": "LayerDecay", "a": -1}]),
        ("{'type': 'PSNR', 'x': (1, None)}", {"type": "PSNR", "x": (1, None)}),
    ],
)
def test_a_value(text, value):
    assert read_options([f"key={text}"]) == {"key": value}


@pytest.mark.parametrize("text", ["[f(a,b=(1]", "dict(a,b", "[dict(type=f(x),a=1)]"])
def test_brackets_that_make_no_value(text):
    with pytest.raises(ConfigError, match="brackets or quotes do not match"):
        read_options([f"key={text}"])


def test_what_is_no_option():
    with pytest.raises(ConfigError, match="takes key=value, got 'key'"):
        read_options(["key"])
