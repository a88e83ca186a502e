"""Metrics of the library pyiqa (IQA-PyTorch) by their names: DISTS, MUSIQ, CLIP-IQA, FSIM, and many more."""

import contextlib
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import TextIO
from urllib.error import URLError

import torch
from torch import Tensor, nn
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.core.extras import needs_extra
from dtir.core.names import did_you_mean
from dtir.registry import METRICS

from .base import PictureMetric

# Of sets of pictures, not of a picture.
SET_METRICS = ("fid", "fid_dinov2", "sfid", "inception_score")
_PER_PICTURE = ("FR", "NR")
LISTING = "python -c 'import pyiqa; print(pyiqa.list_models())'"
# What torch.hub writes as it begins a download.
_DOWNLOAD = re.compile(r'Downloading: "([^"]+)" to (.+)')


@METRICS.register_module()
class IQA(PictureMetric):
    """A metric of pyiqa for a picture, with its GT or, where the metric needs none, without.

    Its value is named after it, its direction is that which pyiqa states. Most have weights of a network, which pyiqa
    downloads into torch's hub cache where they are not there already.

    Args:
        metric: Name in pyiqa, such as "dists" or "musiq".
        protocol: How pictures are prepared; RGB ones only, since pyiqa does the rest itself.
        options: Further arguments of `pyiqa.create_metric`, such as `pretrained_model_path` for weights of a file.
        **kwargs: Of mmengine's `BaseMetric`.

    Raises:
        ConfigError: The extra `metrics` is not installed, the name is unknown or of sets of pictures, the weights are
            not to be had, or the protocol is luma.
    """

    def __init__(self, metric: str, protocol: str = "rgb", options: dict | None = None, **kwargs) -> None:
        super().__init__(protocol, **kwargs)
        if self.protocol.luma:
            raise ConfigError(
                f"IQA prepares luma itself where a metric needs it; use an RGB protocol, not '{protocol}'."
            )
        self.model = create(metric, options or {})
        if self.model.metric_mode not in _PER_PICTURE:
            raise ConfigError(f"'{metric}' measures sets of pictures: dtir eval FOLDER GT_FOLDER --sets {metric}.")
        self.name, self.key = metric, metric
        self.higher_is_better = not self.model.lower_better
        self.needs_gt = self.model.metric_mode == "FR"

    @override
    def describe(self) -> str:
        """With the library."""
        import pyiqa

        return f"pyiqa {pyiqa.__version__}, {super().describe()}"

    @torch.no_grad()
    def measure(self, picture: Tensor, gt: Tensor) -> Tensor:
        """The metric by the protocol, float64.

        Raises:
            ValueError: The metric cannot measure pictures of this size.
        """
        self.model.to(picture.device)
        pictures = (picture, gt) if self.needs_gt else (picture,)
        prepared = [self.protocol.prepare(one).float() for one in pictures]
        try:
            return self.model(*prepared).flatten().double()
        except (RuntimeError, AssertionError) as error:
            raise ValueError(f"pyiqa's {self.name} cannot measure {tuple(picture.shape)}: {error}.") from error


def library() -> ModuleType:
    """The package pyiqa.

    Raises:
        MissingExtraError: It is not installed.
    """
    with needs_extra("this metric", "metrics"):
        import pyiqa
    return pyiqa


def create(metric: str, options: dict) -> nn.Module:
    """A metric of pyiqa.

    Raises:
        ConfigError: pyiqa is not installed, does not know the name, or cannot get the metric's weights.
    """
    pyiqa = library()
    known = pyiqa.list_models()
    if metric not in known:
        raise ConfigError(
            f"pyiqa has no metric '{metric}'.{did_you_mean(metric, known)} It has {len(known)}, listed by {LISTING}."
        )
    # Where torch says so depends on its version.
    out, err = _Heard(sys.stdout), _Heard(sys.stderr)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            return pyiqa.create_metric(metric, device="cpu", **options)
    except (URLError, OSError, RuntimeError) as error:
        raise ConfigError(
            f"pyiqa cannot get the weights of '{metric}' ({error}). {_by_hand(out.text() + err.text())}, "
            "or name a file in the config: dict(type='IQA', metric=..., options=dict(pretrained_model_path=...))."
        ) from error


class _Heard(io.TextIOBase):
    """Writes on to a stream, and keeps what was written."""

    def __init__(self, stream: TextIO) -> None:
        self.stream, self.parts = stream, []

    def write(self, text: str) -> int:
        self.parts.append(text)
        return self.stream.write(text)

    def flush(self) -> None:
        self.stream.flush()

    def text(self) -> str:
        return "".join(self.parts)


def _by_hand(said: str) -> str:
    """How to get weights that could not be downloaded, from what torch said when it began to."""
    begun = _DOWNLOAD.findall(said)
    if begun:
        return "On a machine with a network get {}, and put it here as {}".format(*begun[-1])
    return f"Put them into torch's hub cache, {Path(torch.hub.get_dir()) / 'pyiqa'}"


def set_metric(metric: str) -> Callable[[str, str], float]:
    """A metric of two folders of pictures, such as FID.

    Raises:
        ConfigError: See `create`; or the metric is of a picture.
    """
    if metric not in SET_METRICS:
        raise ConfigError(f"'{metric}' is no metric of sets of pictures; known: {', '.join(SET_METRICS)}.")
    model = create(metric, {})
    return lambda restored, gt: float(model(restored, gt))
