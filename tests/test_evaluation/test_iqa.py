"""Metrics of pyiqa under dtir's protocols."""

import sys
from urllib.error import URLError

import pytest
import torch

from dtir.core.errors import ConfigError
from dtir.evaluation import IQA
from dtir.evaluation.metrics.iqa import set_metric

PICTURE, GT = torch.rand(2, 1, 3, 48, 64, generator=torch.Generator().manual_seed(0))


def test_without_the_library_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(ConfigError, match=r"needs the extra 'metrics'.*pip install 'dtir\[metrics\]'"):
        IQA("gmsd")


class Fake(torch.nn.Module):
    metric_mode, lower_better = "FR", True

    def forward(self, picture, gt):
        if picture.shape[-1] < 32:
            raise AssertionError("too small")
        return (picture - gt).abs().mean((1, 2, 3))


@pytest.fixture
def fake(monkeypatch):
    """A library that knows one metric, has no weights of another, and one of sets."""

    class Library:
        __version__ = "9"

        @staticmethod
        def list_models():
            return ["difference", "weighty", "faraway", "fid"]

        @staticmethod
        def create_metric(name, device, **options):
            if name == "weighty":
                raise OSError("no route to host")
            if name == "faraway":
                getattr(sys, options["stream"]).write('Downloading: "https://example.org/w.pth" to /cache/w.pth\n')
                raise URLError("unknown name")
            return Fake()

    monkeypatch.setitem(sys.modules, "pyiqa", Library)


def test_value_direction_and_words(fake):
    metric = IQA("difference", protocol="rgb_crop4")
    inner = (..., slice(4, -4), slice(4, -4))
    rounded = [(x * 255).round() / 255 for x in (PICTURE, GT)]
    expected = (rounded[0][inner] - rounded[1][inner]).abs().mean().double()

    torch.testing.assert_close(metric.measure(PICTURE, GT), expected[None], rtol=1e-6, atol=0)
    measure = metric.measure_taken()
    assert (measure.label, measure.key, measure.higher_is_better) == ("difference", "difference", False)
    assert measure.words.startswith("pyiqa 9, protocol 'rgb_crop4'")


def test_what_cannot_be_measured_is_said(fake):
    with pytest.raises(ConfigError, match=r"no metric 'diference'\. Did you mean 'difference'"):
        IQA("diference")
    with pytest.raises(ConfigError, match=r"cannot get the weights of 'weighty' \(no route to host\)"):
        IQA("weighty")
    with pytest.raises(ConfigError, match=r"get https://example.org/w.pth, and put it here as /cache/w.pth, or name"):
        IQA("faraway", options={"stream": "stderr"})
    with pytest.raises(ConfigError, match=r"get https://example.org/w.pth, and put it here as /cache/w.pth, or name"):
        IQA("faraway", options={"stream": "stdout"})
    with pytest.raises(ConfigError, match="use an RGB protocol, not 'y'"):
        IQA("difference", protocol="y")
    with pytest.raises(ConfigError, match=r"no metric of sets of pictures; known: fid"):
        set_metric("difference")
    with pytest.raises(ValueError, match="cannot measure"):
        IQA("difference").measure(PICTURE[..., :16], GT[..., :16])


def test_the_real_library():
    pyiqa = pytest.importorskip("pyiqa", reason="the extra 'metrics' (pyiqa) is not installed")
    metric = IQA("gmsd")
    rounded = [(x * 255).round() / 255 for x in (PICTURE, GT)]
    expected = pyiqa.create_metric("gmsd")(*rounded).flatten().double()
    torch.testing.assert_close(metric.measure(PICTURE, GT), expected)
    assert metric.higher_is_better is False
