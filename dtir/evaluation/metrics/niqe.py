"""NIQE (Mittal et al., IEEE SPL 2013), as BasicSR computes it: quality of a picture without its GT."""

import hashlib
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from dtir.core.errors import ConfigError
from dtir.diffusion.operators.resampling import bicubic_matrix
from dtir.registry import METRICS

from .base import PictureMetric

PARAMETERS_FILE = "niqe_pris_params.npz"
BLOCK = 96
NUM_FEATURES = 36
_WINDOW = 7
_WINDOW_SIGMA = 7 / 6
# Neighbours whose products are described: right, below, and the two diagonals.
_SHIFTS = ((0, 1), (1, 0), (1, 1), (1, -1))
# Shapes among which that of a distribution is looked for.
_SHAPES = (0.2, 0.001, 9801)


@dataclass(frozen=True)
class PristineModel:
    """The Gaussian of the features of good pictures: `mean` (36,) and `covariance` (36, 36), float64."""

    mean: Tensor
    covariance: Tensor

    def digest(self) -> str:
        """Eight hexadecimal digits that tell it from other models, whatever file it is in."""
        # Sums of features differ in their last bits with the number of threads.
        values = torch.cat([self.mean[None], self.covariance]).float().cpu()
        return hashlib.sha256(values.numpy().tobytes()).hexdigest()[:8]


@METRICS.register_module()
class NIQE(PictureMetric):
    """Natural image quality evaluator; smaller is better. The GT plays no part.

    Args:
        parameters: File of the pristine model, BasicSR's `niqe_pris_params.npz`; None looks in torch's hub cache.
        protocol: Name of the protocol; those on 8-bit luma only, as published.
        **kwargs: Of mmengine's `BaseMetric`.

    Raises:
        ConfigError: The file is not there or not of a pristine model, or the protocol is not on 8-bit luma.
    """

    name = "NIQE"
    higher_is_better = False

    def __init__(self, parameters: str | None = None, protocol: str = "y_8bit", **kwargs) -> None:
        super().__init__(protocol, **kwargs)
        if not self.protocol.round_luma:
            raise ConfigError(f"NIQE judges 8-bit luma; use protocol 'y_8bit' or 'y_8bit_crop4', not '{protocol}'.")
        path = find_parameters(parameters)
        self.model = read_pristine_model(path)
        self.origin = f"{path.name} ({self.model.digest()})"

    @override
    def describe(self) -> str:
        """With the file of the pristine model, and the model's digest."""
        return f"pristine model {self.origin}, {super().describe()}"

    def measure(self, picture: Tensor, gt: Tensor) -> Tensor:
        """NIQE of the pictures by the protocol.

        Raises:
            ValueError: See `niqe`.
        """
        return niqe(self.protocol.prepare(picture), self.model)


def find_parameters(parameters: str | Path | None) -> Path:
    """The file of the pristine model.

    Raises:
        ConfigError: It is not there.
    """
    path = Path(parameters) if parameters else Path(torch.hub.get_dir()) / "checkpoints" / PARAMETERS_FILE
    if not path.is_file():
        raise ConfigError(
            f"NIQE needs the model of pristine pictures, and there is no file '{path}'. Put BasicSR's "
            f"{PARAMETERS_FILE} (basicsr/metrics of its repository) there, name another file with parameters=..., such "
            "as one that tools/misc/fit_niqe.py fits on clean photographs, or leave NIQE out of val_evaluator and "
            "test_evaluator."
        )
    return path


def read_pristine_model(path: str | Path) -> PristineModel:
    """Reads a file in BasicSR's form: `mu_pris_param` (1, 36) and `cov_pris_param` (36, 36).

    Raises:
        ConfigError: It is not of this form.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            mean, covariance = (torch.from_numpy(arrays[f"{key}_pris_param"]).double() for key in ("mu", "cov"))
            model = PristineModel(mean.reshape(NUM_FEATURES), covariance.reshape(NUM_FEATURES, NUM_FEATURES))
        if not (model.mean.isfinite().all() and model.covariance.isfinite().all()):
            raise ValueError("it holds values that are not finite")
        return model
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"'{path}' does not hold NIQE's pristine model: expected an .npz file with mu_pris_param (1, 36) and "
            f"cov_pris_param (36, 36), as BasicSR's {PARAMETERS_FILE}. ({error})"
        ) from error


def niqe(luma: Tensor, model: PristineModel) -> Tensor:
    """NIQE of each picture, (N,), float64: the distance between the Gaussians of its features and of the model's.

    Args:
        luma: (N, 1, H, W) in [0, 1], as protocol 'y_8bit' prepares it.
        model: Model of pristine pictures.

    Raises:
        ValueError: A picture has fewer than two blocks of 96x96 pixels that are not flat.
    """
    height, width = luma.shape[-2:]
    if (height // BLOCK) * (width // BLOCK) < 2:
        raise ValueError(
            f"NIQE needs two blocks of {BLOCK}x{BLOCK} pixels after the border is cropped, got {height}x{width}."
        )
    return torch.stack([_distance(niqe_features(picture), model) for picture in luma])


def niqe_features(luma: Tensor) -> Tensor:
    """Features (blocks, 36) of one picture (1, H, W) in [0, 1]: 18 at its own scale, 18 at half of it.

    Entries that a block does not define, such as those of a flat one, are NaN.
    """
    picture = _whole_blocks(luma)
    halved = _halved(picture)
    return torch.cat([_scale_features(picture, BLOCK), _scale_features(halved, BLOCK // 2)], dim=1)


def block_sharpness(luma: Tensor) -> Tensor:
    """Mean local deviation (blocks,) of one picture (1, H, W) in [0, 1], on the 0..255 scale."""
    deviation = _local_statistics(_whole_blocks(luma))[1]
    return _blocks(deviation, BLOCK).mean((1, 2))


def fit_asymmetric_gaussian(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Shape, left and right scale (B,) of the asymmetric generalised Gaussian of values (B, n), by moments.

    The shape is that of 0.2, 0.201, ... 10 whose moment ratio is nearest (Lasmar et al., ICIP 2009).
    """
    left, right = (_root_mean_square(values, side) for side in (values < 0, values > 0))
    ratio = left / right
    moment = values.abs().mean(1).square() / values.square().mean(1)
    wanted = moment * (ratio**3 + 1) * (ratio + 1) / (ratio.square() + 1).square()
    shapes, ratios = (table.to(values.device) for table in _shape_table())
    shape = shapes[(ratios - wanted[:, None]).square().nan_to_num(nan=0.0).argmin(1)]
    scale = _gamma_ratio(1 / shape, 3 / shape).sqrt()
    return shape, left * scale, right * scale


def _distance(features: Tensor, model: PristineModel) -> Tensor:
    defined = features[~features.isnan().any(1)]
    if len(defined) < 2:
        raise ValueError(f"NIQE needs two blocks of {BLOCK}x{BLOCK} pixels that are not flat, got {len(defined)}.")
    mean, covariance = (x.to(features.device) for x in (model.mean, model.covariance))
    difference = mean - features.nanmean(0)
    inverse = torch.linalg.pinv((covariance + defined.T.cov()) / 2)
    return (difference @ inverse @ difference).sqrt()


def _whole_blocks(luma: Tensor) -> Tensor:
    """(1, 1, H, W) on the 0..255 scale of what blocks cover of a picture (1, H, W) in [0, 1]."""
    rows, columns = (side // BLOCK for side in luma.shape[-2:])
    return luma.double()[None, :, : rows * BLOCK, : columns * BLOCK] * 255


def _halved(picture: Tensor) -> Tensor:
    rows, columns = (bicubic_matrix(side, 2).to(picture) for side in picture.shape[-2:])
    return rows @ picture @ columns.T


def _scale_features(picture: Tensor, block: int) -> Tensor:
    blocks = _blocks(_normalised(picture), block)
    shape, left, right = fit_asymmetric_gaussian(blocks.flatten(1))
    features = [shape, (left + right) / 2]
    for shift in _SHIFTS:
        shape, left, right = fit_asymmetric_gaussian((blocks * blocks.roll(shift, (1, 2))).flatten(1))
        features += [shape, (right - left) * _gamma_ratio(2 / shape, 1 / shape), left, right]
    return torch.stack(features, dim=1)


def _normalised(picture: Tensor) -> Tensor:
    """Contrast-normalised (1, 1, H, W) of a picture on the 0..255 scale."""
    mean, deviation = _local_statistics(picture)
    return (picture - mean) / (deviation + 1)


def _local_statistics(picture: Tensor) -> tuple[Tensor, Tensor]:
    mean = _local_mean(picture)
    return mean, (_local_mean(picture.square()) - mean.square()).abs().sqrt()


def _local_mean(picture: Tensor) -> Tensor:
    x = torch.arange(_WINDOW, dtype=picture.dtype, device=picture.device) - _WINDOW // 2
    weights = torch.exp(-x.square() / (2 * _WINDOW_SIGMA**2))
    column = (weights / weights.sum())[None, None, :, None]
    padded = F.pad(picture, (_WINDOW // 2,) * 4, mode="replicate")
    return F.conv2d(F.conv2d(padded, column), column.transpose(2, 3))


def _blocks(picture: Tensor, block: int) -> Tensor:
    """(blocks, block, block) of (1, 1, H, W)."""
    return picture[0, 0].unfold(0, block, block).unfold(1, block, block).reshape(-1, block, block)


def _root_mean_square(values: Tensor, chosen: Tensor) -> Tensor:
    return ((values * chosen).square().sum(1) / chosen.sum(1)).sqrt()


@cache
def _shape_table() -> tuple[Tensor, Tensor]:
    first, step, count = _SHAPES
    shapes = first + step * torch.arange(count, dtype=torch.float64)
    return shapes, _gamma_ratio(2 / shapes, 1 / shapes) * _gamma_ratio(2 / shapes, 3 / shapes)


def _gamma_ratio(a: Tensor, b: Tensor) -> Tensor:
    return (torch.lgamma(a) - torch.lgamma(b)).exp()
