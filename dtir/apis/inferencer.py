"""Restores pictures of every kind, files and folders with a trained model."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from dtir.apis.archive.archive import ONE_BY_ONE, Archive, ArchiveOptions
from dtir.apis.archive.folder import Inputs, OnDone, RestoreReport
from dtir.apis.archive.preview import Preview
from dtir.apis.loading import load, set_encoder, set_sampling
from dtir.apis.restoring.arrays import to_array, to_image
from dtir.apis.restoring.file_restoring import FileRestorer
from dtir.apis.restoring.judge import Judge
from dtir.apis.restoring.kinds import Held, close_all, open_mask, open_picture
from dtir.apis.restoring.network import NetworkRunner
from dtir.apis.restoring.outcome import Outcome
from dtir.apis.restoring.passes import PassRestorer
from dtir.apis.restoring.plan import Plan, Planner
from dtir.apis.restoring.precision import Choice, check_precision
from dtir.apis.restoring.steps import TaskSteps
from dtir.apis.restoring.wish import MOST_PASSES, OnTile, Step, Wish
from dtir.core.errors import ConfigError

if TYPE_CHECKING:
    from dtir.apis.restoring.kinds import Pictures


class RestorationInferencer:
    """Restores pictures of any size, bit depth and file format with one trained restorer.

    Args:
        checkpoint: Name of a model of the package, path of a model file, of a checkpoint or of a folder of either (see
            `dtir.apis.models.names.find_model`), None for the model of the package; or a restorer: a module with
            `tasks`, `matched_t`, `num_timesteps` and `restore`, which may also have traits, tiles and an estimator of
            its own (see `dtir.apis.restoring.contract`).
        device: Where the network runs; None takes CUDA if there is one, else the CPU. Pictures stay on the CPU.
        tile: Side of the tiles in pixels; None restores every picture whole; "auto" restores pictures up to
            1024 x 1024 pixels whole and larger ones in tiles of 512.
        overlap: Pixels that neighbouring tiles share at least; a quarter of it at every tile edge is not used.
        precision: "float32"; "bf16" or "fp16", automatic mixed precision; or "auto", which measures bf16 beside float32
            now and takes it where it is faster and at most 1/255 off on average (`choice` says what was found). The
            results of "auto" depend on the machine.
        self_ensemble: True averages the outputs for the eight flips and quarter turns of the input, slower and a little
            better; False does not; None is as the model says, which may have small pictures averaged over four flips.
        batch_size: Tiles per call of the network; "auto" is as many as a GPU's memory holds, and one on a CPU.
        num_steps: Steps of a checkpoint that samples (diffusion), in place of its own number.
        seed: Seed of the noise of such a checkpoint, in place of its own.
        keep_grey: Writes grey files for grey files; not wanted of a checkpoint that colours.
        encoder: What a network that listens to words has them read by, see docs/language.md: a sentence encoder or a
            file of embeddings for InstructIR, DA-CLIP's model for DA-CLIP.
        backend: Who runs an exported model (`dtir export`): "onnxruntime" or "openvino", on the CPU; None tells it by
            the file's ending.
        compiled: Has the network compiled by `torch.compile` at the first picture, which takes a minute or so.

    Raises:
        CheckpointError: the model is missing, damaged or another program's; or the encoder is.
        ConfigError: the device, the tiling, the precision or the number of steps cannot be used; or there is an encoder
            for a model that has no use for it, or none for one that needs it.
        LibraryError: a library that the encoder needs is not installed.
    """

    def __init__(
        self,
        checkpoint: str | Path | nn.Module | None = None,
        device: str | torch.device | None = None,
        tile: int | str | None = "auto",
        overlap: int = 32,
        precision: str = "float32",
        self_ensemble: bool | None = None,
        batch_size: int | str = "auto",
        num_steps: int | None = None,
        seed: int | None = None,
        keep_grey: bool = True,
        encoder: str | Path | None = None,
        backend: str | None = None,
        compiled: bool = False,
    ) -> None:
        # Machines of a cluster may have what this one lacks.
        self.wished_device = None if device is None else str(device)
        check_precision(precision)
        loaded = load(checkpoint, device, backend)
        self.restorer, self.device = loaded.restorer, loaded.device
        self.model_path, self.backend = loaded.path, loaded.backend
        set_sampling(self.restorer, num_steps, seed)
        set_encoder(self.restorer, encoder)
        self.keep_grey = keep_grey
        # All that the results depend on, beside the model.
        self.options = {
            "tile": tile,
            "overlap": overlap,
            "precision": precision,
            "self_ensemble": self_ensemble,
            "num_steps": num_steps,
            "seed": seed,
            "keep_grey": keep_grey,
            **({} if encoder is None else {"encoder": str(encoder)}),
            **({} if self.backend is None else {"backend": self.backend}),
            **({"compiled": True} if compiled else {}),
        }
        self.runner = NetworkRunner(
            self.restorer, self.device, tile, overlap, precision, self_ensemble, batch_size, compiled
        )
        self.steps = TaskSteps(self.restorer)
        self.judge = Judge(self.runner.offer.estimator, self.tasks, self.device)
        self.planner = Planner(self.tasks, self.steps, self.runner.offer.instruct)
        self.passes = PassRestorer(self.runner, self.steps, self.judge, self.planner)

    @property
    def choice(self) -> Choice | None:
        """What precision "auto" has chosen, and why; None where the precision was named."""
        return self.runner.choice

    def __repr__(self) -> str:
        blind = "" if self.judge.estimator is None else ", estimates the task"
        return f"RestorationInferencer({', '.join(self.tasks)}{blind}; {self.device}, tile={self.runner.tile})"

    def __call__(
        self,
        x: "Pictures",
        task: str | None = None,
        t: Step | None = None,
        *,
        strength: float = 1.0,
        passes: int = MOST_PASSES,
        prompt: str | None = None,
        mask: "Pictures | None" = None,
        with_details: bool = False,
    ) -> "Pictures | tuple[Pictures, Outcome | list[Outcome]]":
        """Restores whatever holds pictures, and returns the same kind.

        Args:
            x: A path (what comes back is a PIL image), a PIL image, an array, a tensor, a batch of either, or a list of
                these; see `dtir.apis.restoring.kinds.open_picture`. Opacity is kept, grey stays grey.
            task: As in `restore_array`.
            t: As in `restore_array`.
            strength: As in `restore_array`.
            passes: As in `restore_array`.
            prompt: As in `restore_array`.
            mask: As in `restore_array`.
            with_details: Returns what was done as well: an `Outcome` (task, confidence, step, seconds, passes), or a
                list of them for a list or a batch.

        Raises:
            TaskError, ConfigError, ImageFileError, ValueError: see `restore_array` and `open_picture`.
        """
        wish, missing = Wish(task, t, strength, passes, prompt), None if mask is None else open_mask(mask)
        if isinstance(x, list | tuple):
            done = [self._restore_kind(item, wish, missing) for item in x]
            result, details = type(x)(item for item, _ in done), [detail for _, detail in done]
        else:
            result, details = self._restore_kind(x, wish, missing)
        return (result, details) if with_details else result

    def _restore_kind(self, x: "Pictures", wish: Wish, mask: torch.Tensor | None) -> tuple[object, object]:
        done = [self._restore_held(held, wish, mask) for held in open_picture(x)]
        details = [detail for _, detail in done]
        return close_all(x, [item for item, _ in done]), details if getattr(x, "ndim", 0) == 4 else details[0]

    def _restore_held(self, held: Held, wish: Wish, mask: torch.Tensor | None) -> tuple[object, Outcome]:
        restored, outcome = self.passes.restore(held.image, wish, mask)
        return (held.close(restored) if outcome.changed else held.leave()), outcome

    @classmethod
    def from_pretrained(
        cls, place: str | Path, revision: str | None = None, **options: object
    ) -> "RestorationInferencer":
        """A model as `save_pretrained` wrote it: from a folder, or from a repository of the Hugging Face hub.

        Args:
            place: The folder, or the repository's name, OWNER/NAME, which needs `huggingface_hub` (extra `hub`).
            revision: Branch, tag or commit of the repository; None is its main branch.
            options: Options of `RestorationInferencer`.

        Raises:
            CheckpointError: There is no such model.
            MissingExtraError: `huggingface_hub` is not installed.
        """
        from dtir.apis.models.hub import find_pretrained

        return cls(find_pretrained(place, revision), **options)

    def save_pretrained(
        self, folder: str | Path, name: str | None = None, description: str = "", licence: str = ""
    ) -> Path:
        """Writes `model.safetensors`, `config.json` and `README.md`, the files of a repository of the Hugging Face hub.

        Args:
            folder: Where; made if needed.
            name: What the model is called; None is the folder's name.
            description: One line for people.
            licence: Under which the weights may be used.

        Returns:
            The folder.

        Raises:
            CheckpointError: The restorer cannot be written, see `dtir.apis.models.files.write_model_file`.
        """
        from dtir.apis.models.hub import write_pretrained

        return write_pretrained(folder, self.restorer, name, description, licence)

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
        if task is None and t is None:
            raise ConfigError("give either the task of the picture or a time step t.")
        return self.steps.choose(task, t)

    def plan(self, prompt: str) -> Plan:
        """What a prompt comes to with this model: its passes in order, what stays, and what was not understood.

        Args:
            prompt: Such as "remove the rain, then brighten it a little"; in English, German, French, Spanish, Italian,
                Portuguese, Chinese, Japanese or Russian, unless the network listens to words by itself.

        Raises:
            PromptError: It was not understood, or asks for a damage that the model was not trained on.
            ConfigError: The network reads prompts by itself, and there is no encoder for it.
        """
        return self.planner.plan(prompt)

    def estimate_task(self, rgb: np.ndarray) -> str:
        """Which of `tasks` a picture (H, W, 3) needs, by the estimator that was trained with the checkpoint.

        What `task="auto"` tries out beside it (`dtir.apis.restoring.trial`) has no part in that.

        Raises:
            ConfigError: the checkpoint has no estimator.
        """
        return self.judge.estimate(to_image(rgb)).task

    def restore_array(
        self,
        rgb: np.ndarray,
        task: str | None = None,
        t: Step | None = None,
        on_tile: OnTile | None = None,
        *,
        strength: float = 1.0,
        passes: int = MOST_PASSES,
        prompt: str | None = None,
        mask: "Pictures | None" = None,
    ) -> np.ndarray:
        """Restores one picture.

        Args:
            rgb: (H, W, 3) RGB; uint8, uint16, or floating point in [0, 1].
            task: Name of its degradation, one of `tasks`, or "auto" to estimate it, restore it, and estimate again
                until the picture is clean or the estimator unsure (one of one colour all over is left as it is); None
                is "auto", or with a mask nothing but filling; or give `t`.
            t: Time step in 0..T, instead of `task`; or "auto" to estimate it from the picture, within `task` where that
                is named, so that mild damage is restored mildly, and a picture of step 0 is left as it is.
            on_tile: Called as `on_tile(tiles done, tiles in all)` in every pass; of a sampling restorer, with steps.
            strength: Share of the change that is applied, in [0, 1].
            passes: Most restorations with "auto".
            prompt: What is to be done in words, instead of a task, a step and a strength; see `plan`.
            mask: Where pixels are missing: a picture of the same size, of any kind, white where they are to be filled.

        Returns:
            (H, W, 3) float32 RGB in [0, 1].

        Raises:
            TaskError, ConfigError, PromptError: see `timestep`, `Wish` and `plan`.
            ImageFileError: the picture does not fit into memory, the network's output is not finite, or the mask is of
                another size.
            ValueError: `rgb` has another shape, type or range.
        """
        wish, missing = Wish(task, t, strength, passes, prompt), None if mask is None else open_mask(mask)
        return to_array(self.passes.restore(to_image(rgb), wish, missing, on_tile)[0])

    def restore_file(
        self,
        path: str | Path,
        out_path: str | Path,
        task: str | None = None,
        t: Step | None = None,
        overwrite: bool = False,
        on_tile: OnTile | None = None,
        *,
        strength: float = 1.0,
        passes: int = MOST_PASSES,
        prompt: str | None = None,
        mask: "Pictures | None" = None,
    ) -> bool:
        """Restores one file; format, bit depth, orientation, transparency and colour profile are kept.

        So is grey, unless `keep_grey` was unset. A picture that there is nothing to do about is copied bit for bit.

        Returns:
            True if `out_path` was written, False if it existed and `overwrite` is not set.

        Raises:
            ImageFileError: the picture cannot be read, restored or written, or `out_path` is the picture itself.
            TaskError, ConfigError: see `restore_array`.
        """
        restore_one = self.file_restorer(Wish(task, t, strength, passes, prompt), mask, overwrite)
        return restore_one(Path(path), Path(out_path), on_tile) is not None

    def restore_paths(
        self,
        inputs: Inputs,
        out_dir: str | Path,
        task: str | None = None,
        t: Step | None = None,
        recursive: bool = False,
        overwrite: bool = False,
        progress: bool = False,
        *,
        strength: float = 1.0,
        passes: int = MOST_PASSES,
        prompt: str | None = None,
        mask: "Pictures | None" = None,
        on_done: OnDone | None = None,
        archive: ArchiveOptions = ONE_BY_ONE,
    ) -> RestoreReport:
        """Restores files and folders into `out_dir` under their own names, mirroring sub-folders.

        A picture that fails does not stop the others. Existing outputs are skipped unless `overwrite`.

        Args:
            inputs: A file or folder, or several.
            out_dir: Folder of the outputs; made if needed. For one file it may be a file.
            task: Name of the degradation of all pictures, or "auto" to estimate that of each; see `restore_array`.
            t: As in `restore_array`.
            recursive: Also restore the pictures in sub-folders.
            overwrite: Write outputs that already exist anew.
            progress: Show progress with the time left on stderr.
            strength: As in `restore_array`.
            passes: As in `restore_array`.
            prompt: As in `restore_array`.
            mask: As in `restore_array`, for all pictures.
            on_done: Called as `on_done(job, outcome)` after each picture that was restored or left as it is.
            archive: Format, names, quality, log and processes.

        Returns:
            What was restored, what was skipped, and what failed with the reason.

        Raises:
            TaskError, ConfigError: see `restore_array`; or `out_dir` is not a folder.
        """
        restorer = self.file_restorer(Wish(task, t, strength, passes, prompt), mask, overwrite, archive.quality)
        return Archive(self, restorer, inputs, out_dir, recursive, archive).restore(progress, on_done)

    def preview_paths(
        self,
        inputs: Inputs,
        out_dir: str | Path,
        task: str | None = None,
        t: Step | None = None,
        recursive: bool = False,
        overwrite: bool = False,
        *,
        strength: float = 1.0,
        passes: int = MOST_PASSES,
        prompt: str | None = None,
        mask: "Pictures | None" = None,
        archive: ArchiveOptions = ONE_BY_ONE,
    ) -> Preview:
        """What `restore_paths` would do with these arguments; nothing is written.

        Raises:
            TaskError, ConfigError: see `restore_paths`.
        """
        restorer = self.file_restorer(Wish(task, t, strength, passes, prompt), mask, overwrite, archive.quality)
        return Archive(self, restorer, inputs, out_dir, recursive, archive).preview()

    def recipe(self, restorer: FileRestorer, device: str | None = None) -> tuple[Callable[..., FileRestorer], tuple]:
        """How another process makes the same: a function and its arguments, to be pickled.

        Args:
            restorer: What it makes.
            device: Where its network runs; None is as here.

        Raises:
            ConfigError: The model was not given as a file.
        """
        if self.model_path is None:
            raise ConfigError("several processes need a model that each can load: give a name or a file, not a module.")
        mask = None if restorer.mask is None else restorer.mask.numpy()
        device = "cpu" if self.backend else device or str(self.device)
        # All compute in the one that was chosen here.
        options = {**self.options, "precision": self.runner.precision}
        return make_file_restorer, (
            self.model_path,
            device,
            options,
            dataclasses.replace(restorer, passes=None, mask=None),
            mask,
        )

    def file_restorer(
        self, wish: Wish, mask: "Pictures | None" = None, overwrite: bool = False, quality: int | None = None
    ) -> FileRestorer:
        """What restores one file after the other as a wish says; see `restore_file`.

        Args:
            wish: What is to be done to each.
            mask: As in `restore_array`, for all pictures.
            overwrite: Write outputs that already exist anew.
            quality: Quality of JPEG, WebP and AVIF outputs, 1 to 100; None is fine or lossless.

        Raises:
            ValueError, ImageFileError: The mask is none, or cannot be read.
        """
        missing = None if mask is None else open_mask(mask)
        return FileRestorer(self.passes, wish, missing, self.keep_grey, overwrite, quality=quality)

    def restore_folder(self, folder: str | Path, out_dir: str | Path, **options) -> RestoreReport:
        """Restores the pictures of one folder; see `restore_paths` for the options."""
        return self.restore_paths([folder], out_dir, **options)


def make_file_restorer(
    model: Path, device: str, options: dict, like: FileRestorer, mask: np.ndarray | None
) -> FileRestorer:
    """A `FileRestorer` as `like` but for its model and mask, in another process."""
    inferencer = RestorationInferencer(model, device, **options)
    missing = None if mask is None else torch.from_numpy(mask)
    return dataclasses.replace(like, passes=inferencer.passes, mask=missing)
