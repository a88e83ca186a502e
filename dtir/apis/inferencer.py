"""Restores arrays, picture files and folders with a trained checkpoint."""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from dtir.apis.folder import OnTile, RestoreReport, restore_all
from dtir.core.errors import ConfigError, ImageFileError
from dtir.imaging.files import read_picture, write_picture
from dtir.imaging.self_ensemble import averaged_over_symmetries
from dtir.imaging.tiling import check_tiling, tiled_apply
from dtir.tasks import check_task

logger = logging.getLogger(__name__)

AUTO_WHOLE_PIXELS = 1024 * 1024
AUTO_TILE = 512
# For networks that do not declare theirs: the usual ones downsample four times by 2.
SIZE_MULTIPLE = 16
AMP_DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}

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
        if amp is not None and amp not in AMP_DTYPES:
            raise ConfigError(f"amp='{amp}' is not a precision; use one of {', '.join(AMP_DTYPES)}, or None.")
        if isinstance(tile, str) and tile != "auto":
            raise ConfigError(f"tile='{tile}' is neither a number of pixels nor 'auto'.")
        self.restorer = _load(checkpoint, self.device)
        if num_steps is not None or seed is not None:
            _set_sampling(self.restorer, num_steps, seed)
        self.multiple = _size_multiple(self.restorer)
        if tile is not None:
            check_tiling(AUTO_TILE if tile == "auto" else tile, overlap, self.multiple)
        self.tile, self.overlap, self.batch_size = tile, overlap, batch_size
        self.amp = amp
        self.keep_grey = keep_grey
        self._apply_in_tiles = getattr(self.restorer, "apply_in_tiles", tiled_apply)
        self._warned: set[str] = set()
        restore = self.restorer.restore
        self._restore = functools.partial(averaged_over_symmetries, restore) if self_ensemble else restore

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
        if (task is None) == (t is None):
            raise ConfigError("give either the task of the picture or a time step t, not both or neither.")
        if t is None:
            return self._matched(check_task(task, self.tasks))
        last = int(self.restorer.num_timesteps)
        if int(t) != t or not 0 <= t <= last:
            raise ConfigError(f"t={t} is not a time step of this checkpoint: use a whole number from 0 to {last}.")
        return int(t)

    @torch.inference_mode()
    def estimate_task(self, rgb: np.ndarray) -> str:
        """Which of `tasks` a picture (H, W, 3) needs, by the estimator that was trained with the checkpoint.

        Raises:
            ConfigError: the checkpoint has no estimator.
        """
        estimator = self._estimator()
        image = torch.from_numpy(_unit_range(rgb)).permute(2, 0, 1)[None].to(self.device)
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
        image = torch.from_numpy(_unit_range(rgb)).permute(2, 0, 1)[None]
        with torch.inference_mode(), _explain_out_of_memory(image, self.tile):
            output = self._apply_in_tiles(
                lambda tiles: self._restore_tiles(tiles, step),
                image,
                tile=self._tile_for(image),
                overlap=self.overlap,
                batch_size=self.batch_size,
                multiple=self.multiple,
                callback=on_tile,
                device=self.device,
            )
            return output.clamp_(0, 1)[0].permute(1, 2, 0).contiguous().numpy()

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

    def _matched(self, task: str) -> int:
        step = int(self.restorer.matched_t[self.tasks.index(task)])
        if step >= 0:
            return step
        if task not in self._warned:
            logger.warning("the checkpoint has no matched time step for task '%s'; t = 0 is used.", task)
        self._warned.add(task)
        return 0

    def _tile_for(self, image: Tensor) -> int | None:
        if self.tile != "auto":
            return self.tile
        return None if image.shape[-2] * image.shape[-1] <= AUTO_WHOLE_PIXELS else AUTO_TILE

    def _restore_tiles(self, tiles: Tensor, step: int) -> Tensor:
        t = torch.full((len(tiles),), step, dtype=torch.long, device=tiles.device)
        with self._precision():
            output = self._restore(tiles.contiguous(), t).float()
        if not torch.isfinite(output).all():
            hint = " Try without amp." if self.amp else " The checkpoint may come from a run that diverged."
            raise ImageFileError(f"the network's output has infinite or undefined values.{hint}")
        return output

    def _precision(self) -> contextlib.AbstractContextManager:
        if self.amp is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=AMP_DTYPES[self.amp])


def resolve_device(device: str | torch.device | None) -> torch.device:
    """The device to compute on; None is CUDA if there is one, else the CPU.

    Raises:
        ConfigError: the name is not a device, or this machine has no such device.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
        torch.empty(0, device=resolved)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"device '{device}' cannot be used here ({reason}). Use 'cpu', or leave it out.") from error
    return resolved


def _load(checkpoint: str | Path | nn.Module, device: torch.device) -> nn.Module:
    if isinstance(checkpoint, str | Path):
        from dtir.apis.build import load_restorer

        checkpoint = load_restorer(checkpoint, device)
    return checkpoint.to(device).eval()


def _set_sampling(restorer: nn.Module, num_steps: int | None, seed: int | None) -> None:
    if not hasattr(restorer, "set_sampling"):
        raise ConfigError("this checkpoint restores in one step and draws no noise: leave out the steps and the seed.")
    restorer.set_sampling(num_steps, seed)


def _size_multiple(restorer: nn.Module) -> int:
    """What tiles must start at multiples of, to lie on the grids of the network's lower levels."""
    return getattr(getattr(restorer, "backbone", None), "size_multiple", SIZE_MULTIPLE)


def _unit_range(rgb: np.ndarray) -> np.ndarray:
    """Float32 (H, W, 3) in [0, 1]."""
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ValueError(f"expected an RGB picture (H, W, 3), got shape {rgb.shape}.")
    if rgb.dtype in (np.uint8, np.uint16):
        return rgb.astype(np.float32) / np.float32(np.iinfo(rgb.dtype).max)
    if not np.issubdtype(rgb.dtype, np.floating):
        raise ValueError(f"expected uint8, uint16 or floating point, got {rgb.dtype}.")
    # Written so that NaN is refused too.
    if not (rgb.min() >= 0 and rgb.max() <= 1):
        raise ValueError(f"expected floating-point values in [0, 1], got {rgb.min()} to {rgb.max()}.")
    return np.ascontiguousarray(rgb, dtype=np.float32)


@contextlib.contextmanager
def _explain_out_of_memory(image: Tensor, tile: int | str | None) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch has an exception class for the memory of GPUs only.
        if not isinstance(error, MemoryError | torch.OutOfMemoryError) and "DefaultCPUAllocator" not in str(error):
            raise
        height, width = image.shape[-2:]
        raise ImageFileError(
            f"not enough memory to restore {width} x {height} pixels with tile={tile}; use smaller tiles, such as 256."
        ) from error
