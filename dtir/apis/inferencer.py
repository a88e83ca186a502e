"""Restores arrays, picture files and folders with a trained checkpoint."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dtir.apis.arrays import to_array, to_image
from dtir.apis.device import resolve_device
from dtir.apis.folder import OnTile, RestoreReport, restore_all
from dtir.apis.network import NetworkRunner, check_precision
from dtir.apis.steps import TaskSteps
from dtir.core.errors import ConfigError, ImageFileError
from dtir.imaging.files import read_picture, write_picture

# The task is estimated from the picture.
AUTO = "auto"


class RestorationInferencer:
    """Restores pictures of any size, bit depth and file format with one trained restorer.

    Args:
        checkpoint: Path of a checkpoint, or a restorer: a module with `tasks` (names), `matched_t` (long, one per task,
            -1 = not matched), `num_timesteps` and `restore(lq (B, 3, H, W) in [0, 1], t (B,) long)`; it may also have
            an `apply_in_tiles` of its own in place of `tiled_apply`.
        device: Where the network runs; None takes CUDA if there is one, else the CPU. Pictures stay on the CPU.
        tile: Side of the tiles in pixels; None restores every picture whole; "auto" restores pictures up to
            1024 x 1024 pixels whole and larger ones in tiles of 512.
        overlap: Pixels that neighbouring tiles share at least; a quarter of it at every tile edge is not used.
        amp: None computes in float32; "bf16" or "fp16" uses automatic mixed precision.
        self_ensemble: Averages the outputs for the eight flips and quarter turns of the input: slower, a little better.
        batch_size: Tiles per call of the network.
        num_steps: Steps of a checkpoint that samples (diffusion), in place of its own number.
        seed: Of the noise of such a checkpoint, in place of its own.
        keep_grey: Writes grey files for grey files; not wanted of a checkpoint that colours.

    Raises:
        CheckpointError: the checkpoint is missing, damaged or another program's.
        ConfigError: the device, the tiling, the precision or the number of steps cannot be used.
    """

    def __init__(
        self,
        checkpoint: str | Path | nn.Module,
        device: str | torch.device | None = None,
        tile: int | str | None = "auto",
        overlap: int = 32,
        amp: str | None = None,
        self_ensemble: bool = False,
        batch_size: int = 1,
        num_steps: int | None = None,
        seed: int | None = None,
        keep_grey: bool = True,
    ) -> None:
        self.device = resolve_device(device)
        check_precision(amp)
        self.restorer = _load(checkpoint, self.device)
        if num_steps is not None or seed is not None:
            _set_sampling(self.restorer, num_steps, seed)
        self.keep_grey = keep_grey
        self.runner = NetworkRunner(self.restorer, self.device, tile, overlap, amp, self_ensemble, batch_size)
        self.steps = TaskSteps(self.restorer)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks the checkpoint was trained on."""
        return tuple(self.restorer.tasks)

    def timestep(self, task: str | None = None, t: int | None = None) -> int:
        """The time step to restore with: `t` itself, or the one matched to `task`.

        A task whose step was never matched is restored with t = 0, and a warning is logged once.

        Raises:
            TaskError: the checkpoint does not know `task`.
            ConfigError: not exactly one of the two is given, or `t` is outside 0..T.
        """
        return self.steps.choose(task, t)

    @torch.inference_mode()
    def estimate_task(self, rgb: np.ndarray) -> str:
        """Which of `tasks` a picture (H, W, 3) needs, by the estimator that was trained with the checkpoint.

        Raises:
            ConfigError: the checkpoint has no estimator.
        """
        estimator = self._estimator()
        image = to_image(rgb).to(self.device)
        return self.tasks[int(estimator(image).argmax())]

    def _estimator(self) -> nn.Module:
        estimator = getattr(self.restorer, "estimator", None)
        if estimator is None:
            raise ConfigError(
                "task='auto' needs a checkpoint that was trained with dict(type='BlindTaskHook') in custom_hooks; name "
                f"the task: {', '.join(self.tasks)}."
            )
        return estimator

    def restore_array(
        self, rgb: np.ndarray, task: str | None = None, t: int | None = None, on_tile: OnTile | None = None
    ) -> np.ndarray:
        """Restores one picture.

        Args:
            rgb: (H, W, 3) RGB; uint8, uint16, or floating point in [0, 1].
            task: Name of its degradation, one of `tasks`, or "auto" to estimate it; or give `t`.
            t: Time step in 0..T, instead of `task`.
            on_tile: Called as `on_tile(tiles done, tiles in all)`; of a restorer that samples, with steps.

        Returns:
            (H, W, 3) float32 RGB in [0, 1].

        Raises:
            TaskError, ConfigError: see `timestep`.
            ImageFileError: the picture does not fit into memory, or the network's output is not finite.
            ValueError: `rgb` has another shape, type or range.
        """
        step = self.timestep(self.estimate_task(rgb) if task == AUTO else task, t)
        return to_array(self.runner.restore(to_image(rgb), step, on_tile))

    def restore_file(
        self,
        path: str | Path,
        out_path: str | Path,
        task: str | None = None,
        t: int | None = None,
        overwrite: bool = False,
        on_tile: OnTile | None = None,
    ) -> bool:
        """Restores one file; format, bit depth, orientation, transparency and colour profile are kept.

        So is grey, unless `keep_grey` was unset.

        Returns:
            True if `out_path` was written, False if it existed and `overwrite` is not set.

        Raises:
            ImageFileError: the picture cannot be read, restored or written, or `out_path` is the picture itself.
            TaskError, ConfigError: see `timestep`.
        """
        path, out_path = Path(path), Path(out_path)
        if out_path.exists() and path.exists() and out_path.samefile(path):
            raise ImageFileError(f"{path}: the output would replace the input; choose another output folder.")
        if out_path.exists() and not overwrite:
            return False
        picture = read_picture(path)
        restored = self.restore_array(picture.rgb, task, t, on_tile)
        kept = dataclasses.replace(picture, was_grey=picture.was_grey and self.keep_grey)
        write_picture(out_path, kept, restored)
        return True

    def restore_paths(
        self,
        inputs: Iterable[str | Path],
        out_dir: str | Path,
        task: str | None = None,
        t: int | None = None,
        recursive: bool = False,
        overwrite: bool = False,
        progress: bool = False,
    ) -> RestoreReport:
        """Restores files and folders into `out_dir` under their own names, mirroring sub-folders.

        A picture that fails does not stop the others. Existing outputs are skipped unless `overwrite`.

        Args:
            inputs: Files and folders.
            out_dir: Folder of the outputs; made if needed.
            task: Name of the degradation of all pictures, or "auto" to estimate that of each; or give `t`.
            t: Time step in 0..T, instead of `task`.
            recursive: Also restore the pictures in sub-folders.
            overwrite: Write outputs that already exist anew.
            progress: Show progress with the time left on stderr.

        Returns:
            What was restored, what was skipped, and what failed with the reason.

        Raises:
            TaskError, ConfigError: see `timestep`; or `out_dir` is not a folder.
        """
        if task == AUTO and t is None:
            self._estimator()
        else:
            task, t = None, self.timestep(task, t)

        def restore_one(source: Path, target: Path, on_tile: OnTile) -> bool:
            return self.restore_file(source, target, task, t, overwrite=overwrite, on_tile=on_tile)

        return restore_all(restore_one, inputs, out_dir, recursive, progress)

    def restore_folder(self, folder: str | Path, out_dir: str | Path, **options) -> RestoreReport:
        """Restores the pictures of one folder; see `restore_paths` for the options."""
        return self.restore_paths([folder], out_dir, **options)


def _load(checkpoint: str | Path | nn.Module, device: torch.device) -> nn.Module:
    if isinstance(checkpoint, str | Path):
        from dtir.apis.build import load_restorer

        checkpoint = load_restorer(checkpoint, device)
    return checkpoint.to(device).eval()


def _set_sampling(restorer: nn.Module, num_steps: int | None, seed: int | None) -> None:
    if not hasattr(restorer, "set_sampling"):
        raise ConfigError("this checkpoint restores in one step and draws no noise: leave out the steps and the seed.")
    restorer.set_sampling(num_steps, seed)
