"""Picture files in and out of `GuidedRestorer`."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dtir.apis.archive.archive import restore_all
from dtir.apis.archive.folder import Inputs, RestoreReport
from dtir.apis.guided.restorer import GuidedRestorer, SampleMean
from dtir.apis.restoring.wish import OnTile
from dtir.core.errors import ConfigError, ImageFileError
from dtir.diffusion.domain import IMAGE_SCALE, to_centred, to_image
from dtir.evaluation.metrics.functional import psnr, to_8_bit
from dtir.imaging.contents import losses
from dtir.imaging.files import read_picture, write_picture
from dtir.imaging.picture import Picture

MEASURED_FOLDER = "measured"
ONE_FOLDER = "one_sample"


def guide_paths(
    restorer: GuidedRestorer,
    inputs: Inputs,
    out_dir: str | Path,
    simulate: bool = False,
    recursive: bool = False,
    overwrite: bool = False,
    progress: bool = False,
    samples: int = 1,
) -> tuple[RestoreReport, list[str]]:
    """Restores files and folders into `out_dir` under their own names, mirroring sub-folders.

    A picture that fails does not stop the others. Existing outputs are skipped unless `overwrite`.

    Args:
        restorer: Operator, guidance and network.
        inputs: A file or folder, or several, of measurements as pictures; of clean pictures with `simulate`.
        out_dir: Folder of the outputs; made if needed. Simulated measurements go to its folder `measured`.
        simulate: Measure the inputs first.
        recursive: Also take the pictures in sub-folders.
        overwrite: Write outputs that already exist anew.
        progress: Show progress with the time left on stderr.
        samples: Write the mean of so many samples, and the first of them to the folder `one_sample` of `out_dir`.

    Returns:
        What was restored, skipped and failed; and a line about each restored picture.

    Raises:
        ConfigError: `out_dir` is not a folder.
    """
    notes: list[str] = []

    def restore_one(source: Path, target: Path, on_tile: OnTile) -> bool:
        if target.exists() and source.exists() and target.samefile(source):
            raise ImageFileError(f"{source}: the output would replace the input; choose another output folder.")
        if target.exists() and not overwrite:
            return False
        if simulate:
            notes.append(_simulated(restorer, source, Outputs(Path(out_dir), target), samples))
        else:
            notes.append(_measured(restorer, source, Outputs(Path(out_dir), target), samples))
        lost = losses(source, target)
        notes[-1] += f"; {lost}" if lost else ""
        return True

    return restore_all(restore_one, inputs, out_dir, recursive, progress), notes


class Outputs(NamedTuple):
    """Where the outputs of one picture go.

    Attributes:
        folder: Folder of all outputs.
        target: The restored picture, in it.
    """

    folder: Path
    target: Path

    def beside(self, name: str) -> Path:
        """A path in a sub-folder of the outputs, mirroring that of the restored picture."""
        return self.folder / name / self.target.relative_to(self.folder)

    def write(self, found: SampleMean, samples: int, source: Picture) -> None:
        """Writes the mean, and one sample beside it where there are more."""
        if samples > 1:
            _write(self.beside(ONE_FOLDER), found.one, source)
        _write(self.target, found.mean, source)


def _measured(restorer: GuidedRestorer, source: Path, outputs: Outputs, samples: int) -> str:
    picture = read_picture(source)
    seen = _to_tensor(picture.rgb)
    # Measurements of a smaller picture are smaller themselves, by the same factor.
    factor = restorer.picture_size(1, 1)[0]
    height, width = restorer.picture_size(*seen.shape[-2:])
    fitting = restorer.fitting_size(height, width)
    seen = _cropped(seen, fitting[0] // factor, fitting[1] // factor, source)
    y = restorer.operator(*fitting).y_from_picture(seen.to(restorer.device))
    found = restorer.restore_mean(y, samples, fitting)
    outputs.write(found, samples, picture)
    return f"{_note(source, picture, seen, restorer)}{_spread(found, samples)}"


def _simulated(restorer: GuidedRestorer, source: Path, outputs: Outputs, samples: int) -> str:
    picture = read_picture(source)
    fitting = restorer.fitting_size(*picture.rgb.shape[:2])
    x = _cropped(_to_tensor(picture.rgb), *fitting, source)
    y = restorer.measure(x)
    _write(outputs.beside(MEASURED_FOLDER), restorer.operator(*fitting).y_as_picture(y), picture)
    found = restorer.restore_mean(y, samples, fitting)
    outputs.write(found, samples, picture)
    note = f"{_note(source, picture, x, restorer)}, PSNR {_psnr(found.one, x):.2f} dB"
    if samples == 1:
        return note
    return f"{note} of one sample, {_psnr(found.mean, x):.2f} dB of their mean{_spread(found, samples)}"


def _spread(found: SampleMean, samples: int) -> str:
    if samples == 1:
        return ""
    levels = 255 * IMAGE_SCALE * found.spread.square().mean().sqrt().item()
    return f", {samples} samples that differ by {levels:.1f} levels of 255 from their mean"


def _psnr(restored: Tensor, x: Tensor) -> float:
    return psnr(to_8_bit(to_image(restored).clamp(0, 1).cpu()), to_image(x)).item()


def _note(source: Path, picture: Picture, used: Tensor, restorer: GuidedRestorer) -> str:
    before, after = picture.rgb.shape[:2], tuple(used.shape[-2:])
    crop = "" if before == after else f", cropped from {before[1]} x {before[0]} to {after[1]} x {after[0]} pixels"
    return f"{source}: {restorer.num_evals} evaluations of the network{crop}"


def _cropped(picture: Tensor, height: int, width: int, source: Path) -> Tensor:
    if min(height, width) < 1:
        raise ConfigError(f"{source}: {picture.shape[-1]} x {picture.shape[-2]} pixels are too few for the operator.")
    return picture[..., :height, :width]


def _to_tensor(rgb: np.ndarray) -> Tensor:
    """(H, W, 3) in [0, 1] as (1, 3, H, W), centred."""
    return to_centred(torch.from_numpy(np.ascontiguousarray(rgb)).permute(2, 0, 1)[None])


def _write(path: Path, image: Tensor, source: Picture) -> None:
    """Writes centred (1, 3, H, W) as RGB: a coloured output of a grey input stays coloured, and opacity is left out."""
    rgb = to_image(image)[0].clamp(0, 1).permute(1, 2, 0).cpu().numpy()
    form = replace(source.form, was_grey=False, extra=())
    write_picture(path, Picture(rgb, form=form), rgb)
