"""The nearest name of an error message."""

import pytest

from dtir.core.names import did_you_mean, nearest_name


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("hazzy", "hazy"), ("NAFNET", "NAFNet"), ("qqqq", None), ("", None), (7, None)],
)
def test_nearest_name(name, nearest):
    assert nearest_name(name, ["hazy", "NAFNet", "rainy"]) == nearest


def test_sentence():
    assert did_you_mean("hasy", ("hazy",)) == " Did you mean 'hazy'?"
    assert did_you_mean("hasy", ()) == ""
