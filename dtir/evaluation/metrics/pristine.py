"""Fits NIQE's model of pristine pictures on clean photographs, as its authors' `estimatemodelparam` does.

Mittal et al., IEEE SPL 2013, "Patch Selection" and "Multivariate Gaussian Model"; the luma is that of BasicSR's metric.
Models of different photographs give one picture different values, so values are comparable only where the model is one.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dtir.core.atomic import atomic_write
from dtir.core.errors import DatasetError
from dtir.evaluation.metrics.niqe import BLOCK, NUM_FEATURES, PristineModel, block_sharpness, niqe_features
from dtir.evaluation.metrics.protocols import get_protocol
from dtir.imaging.files import read_rgb

# T of the paper: which share of its sharpest block a block of a picture has to exceed.
SHARPNESS = 0.75
# Of a block that is not flat, in levels of 255: rounding gives a flat one some millionths, one pixel that is a level
# brighter than the others 0.0006.
_LEAST_SHARPNESS = 1e-4


def sharp_features(path: str | Path) -> Tensor:
    """Features (blocks, 36) of the sharp blocks of a photograph, 8-bit luma as NIQE measures it; none of a flat one.

    Raises:
        ImageFileError: It cannot be read.
        DatasetError: It is smaller than a block of 96x96 pixels.
    """
    rgb = torch.from_numpy(read_rgb(path).copy()).permute(2, 0, 1)[None] / 255
    height, width = rgb.shape[-2:]
    if min(height, width) < BLOCK:
        raise DatasetError(
            f"'{path}' has {height}x{width} pixels, and NIQE's model is of blocks of {BLOCK}x{BLOCK}; take it out of "
            "the photographs."
        )
    luma = get_protocol("y_8bit").prepare(rgb)[0]
    sharpness = block_sharpness(luma)
    return niqe_features(luma)[sharpness > (SHARPNESS * sharpness.max()).clamp(min=_LEAST_SHARPNESS)]


def fit_pristine_model(features: Tensor) -> PristineModel:
    """The Gaussian of features (blocks, 36), those of all photographs together.

    Blocks with entries that are not defined, NaN, count for the mean of the other entries, as published.

    Raises:
        DatasetError: They are too few, or too much alike, for a covariance that can be inverted.
    """
    defined = features[~features.isnan().any(1)]
    if len(defined) <= NUM_FEATURES or (rank := int(torch.linalg.matrix_rank(defined.T.cov()))) < NUM_FEATURES:
        raise DatasetError(
            f"{len(defined)} sharp blocks of {BLOCK}x{BLOCK} pixels are too few"
            + (f" that differ (rank {rank})" if len(defined) > NUM_FEATURES else "")
            + f" for the covariance of NIQE's {NUM_FEATURES} features: more than {NUM_FEATURES} different ones are "
            "needed, and thousands are better. Add clean photographs."
        )
    return PristineModel(features.nanmean(0), defined.T.cov())


def write_pristine_model(path: str | Path, model: PristineModel) -> None:
    """Writes a model in BasicSR's form, see `read_pristine_model`; the file appears whole or not at all.

    Raises:
        OSError: The folder cannot be written to.
    """
    with atomic_write(path) as file:
        np.savez(file, mu_pris_param=model.mean[None].cpu().numpy(), cov_pris_param=model.covariance.cpu().numpy())
