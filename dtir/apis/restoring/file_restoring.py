"""Restores one picture file into another, page by page."""

import contextlib
import functools
import hashlib
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from dtir.apis.restoring.arrays import to_array, to_image
from dtir.apis.restoring.large import LargePage
from dtir.apis.restoring.outcome import Outcome
from dtir.apis.restoring.passes import PassRestorer
from dtir.apis.restoring.wish import OnTile, Wish
from dtir.core.atomic import atomic_write
from dtir.core.errors import ImageFileError
from dtir.imaging.contents import losses
from dtir.imaging.files import open_pages, picture_of, samples, write_samples, written_form
from dtir.imaging.formats import format_of
from dtir.imaging.opening import Source, open_source
from dtir.imaging.picture import Form
from dtir.imaging.vips import libvips

if TYPE_CHECKING:
    import pyvips

# Above so many pixels of all pages together a file is restored in bands: whole, it would take 40 bytes for each.
LARGE_PIXELS = 2**24


@dataclass(frozen=True)
class FileRestorer:
    """Restores files as one wish says.

    Attributes:
        passes: Restores a picture.
        wish: What is to be done.
        mask: (H, W) bool, True where pixels are missing, of every picture; or None.
        keep_grey: Writes grey files for grey files.
        overwrite: Writes outputs that exist anew.
        large: Pixels above which a file is restored in bands of rows.
        quality: Quality of JPEG, WebP and AVIF outputs, 1 to 100; None is fine or lossless.
    """

    passes: PassRestorer
    wish: Wish
    mask: Tensor | None = None
    keep_grey: bool = True
    overwrite: bool = False
    large: int = LARGE_PIXELS
    quality: int | None = None

    def check(self) -> None:
        """Raises before any work what would be raised of every file; see `PassRestorer.check`.

        Raises:
            LibraryError: libvips cannot be loaded.
        """
        libvips()
        self.passes.check(self.wish, self.mask is not None)

    def anew(self) -> "FileRestorer":
        """The same, which writes outputs that exist anew."""
        return replace(self, overwrite=True)

    def settings(self) -> dict[str, object]:
        """What the outputs depend on beside the inputs and the inferencer, as plain types."""
        mask = None if self.mask is None else hashlib.sha256(self.mask.numpy().tobytes()).hexdigest()
        wish, plan = asdict(self.wish), {}
        if self.wish.prompt is None:
            # So that logs of runs without one stay what they are.
            del wish["prompt"]
        else:
            plan = {"plan": self.passes.planner.plan(self.wish.prompt).facts()}
        return {**wish, **plan, "mask": mask, "quality": self.quality}

    def __call__(self, source: Path, target: Path, on_tile: OnTile | None = None) -> Outcome | None:
        """Restores `source` into `target`, in the format of its extension; None where `target` exists and stays.

        A picture that is left as it is is copied bit for bit, where the format is the same. What the output does not
        hold of the input is among the outcome's warnings.

        Raises:
            ImageFileError: The picture cannot be read, restored or written, or `target` is the picture itself.
            TaskError, ConfigError: See `check`.
        """
        if target.exists() and source.exists() and target.samefile(source):
            raise ImageFileError(f"{source}: the output would replace the input; choose another output folder.")
        if target.exists() and not self.overwrite:
            return None
        with contextlib.ExitStack() as files:
            forms, done = self._restored(source, target, files, on_tile)
            outcome = together([outcome for _, outcome in done])
            if not outcome.changed and format_of(source) is format_of(target):
                copy_file(source, target)
                return outcome
            write_samples(target, [image for image, _ in done], forms)
        lost = losses(source, target)
        return replace(outcome, warnings=(*outcome.warnings, lost)) if lost else outcome

    def _restored(
        self, source: Path, target: Path, files: contextlib.ExitStack, on_tile: OnTile | None
    ) -> tuple[list[Form], list[tuple["pyvips.Image", Outcome]]]:
        pages = open_pages(source) if format_of(target).pages else [open_source(source)]
        forms = [written_form(self._kept(page.form), target) for page in pages]
        pixels = sum(page.pixels.width * page.pixels.height for page in pages)
        if pixels <= self.large or self.mask is not None or not self.passes.runner.in_bands:
            return forms, [self._whole(page, form, on_tile) for page, form in zip(pages, forms, strict=True)]
        done = []
        for number, form in enumerate(forms):
            reopen = functools.partial(open_source, source, page=number)
            done.append(LargePage(reopen, self.passes, target.parent, files).restore(self.wish, form, on_tile))
        return forms, done

    def _kept(self, form: Form) -> Form:
        return replace(form, was_grey=form.was_grey and self.keep_grey, quality=self.quality)

    def _whole(self, page: Source, form: Form, on_tile: OnTile | None) -> tuple["pyvips.Image", Outcome]:
        picture = picture_of(page)
        restored, outcome = self.passes.restore(to_image(picture.rgb), self.wish, self.mask, on_tile)
        pixels = samples(to_array(restored), picture.extra, picture.form.peak, form)
        return libvips().Image.new_from_array(pixels), outcome


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """What was done to the pages of a file: that of the first that was changed, and in words what differs from it."""
    first = next((outcome for outcome in outcomes if outcome.changed), outcomes[0])
    differing = [f"page {n}: {outcome}" for n, outcome in enumerate(outcomes, 1) if str(outcome) != str(first)]
    seconds = sum(outcome.seconds for outcome in outcomes)
    warnings = dict.fromkeys(warning for outcome in outcomes for warning in outcome.warnings)
    return replace(first, seconds=seconds, warnings=(*warnings, *differing))


def copy_file(source: Path, target: Path) -> None:
    """Copies a file's bytes; the copy appears whole or not at all.

    Raises:
        ImageFileError: It cannot be read, or the folder cannot be written to, or the disk is full.
    """
    try:
        with source.open("rb") as original, atomic_write(target) as copy:
            shutil.copyfileobj(original, copy)
    except OSError as error:
        raise ImageFileError(f"cannot copy '{source}' to '{target}': {error.strerror or error}.") from error
