"""Names in messages."""

import pytest

from dtir.core.names import did_you_mean, nearest_name, printable


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("hazzy", "hazy"), ("NAFNET", "NAFNet"), ("qqqq", None), ("", None), (7, None)],
)
def test_nearest_name(name, nearest):
    assert nearest_name(name, ["hazy", "NAFNet", "rainy"]) == nearest


def test_sentence():
    assert did_you_mean("hasy", ("hazy",)) == " Did you mean 'hazy'?"
    assert did_you_mean("hasy", ()) == ""


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Zoë 画像\u3000😀 [1].png", "Zoë 画像\u3000😀 [1].png"),
        ("new\nline\t.png", r"new\nline\t.png"),
        ("\x1b[31mred\x9b.png", r"\x1b[31mred\x9b.png"),
        ("\u202egnp.exe\u2028", r"\u202egnp.exe\u2028"),
        ("caf\udce9.png", r"caf\udce9.png"),
    ],
)
def test_a_name_on_a_terminal_moves_and_colours_nothing(name, shown):
    assert printable(name) == shown
