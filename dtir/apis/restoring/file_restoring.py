"""Restores one picture file into another, page by page."""

import contextlib
import functools
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from torch import Tensor

from dtir.apis.restoring.arrays import to_array, to_image
from dtir.apis.restoring.large import LargePage
from dtir.apis.restoring.outcome import Outcome
from dtir.apis.restoring.passes import PassRestorer
from dtir.apis.restoring.wish import OnTile, Wish
from dtir.core.atomic import atomic_write
from dtir.core.errors import ImageFileError
from dtir.imaging.contents import losses
from dtir.imaging.files import open_pages, picture_from, samples, samples_written, written_form
from dtir.imaging.formats import format_of
from dtir.imaging.opening import Source, open_source
from dtir.imaging.picture import Form, Picture
from dtir.imaging.vips import libvips

if TYPE_CHECKING:
    import pyvips

# Above so many pixels of all pages together a file is restored in bands: whole, it would take 40 bytes for each.
LARGE_PIXELS = 2**23


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
        read = self.read(source, target)
        return None if read is None else self.name(self.write(self.restore(read, on_tile)))

    def read(self, source: Path, target: Path) -> "Read | None":
        """The first of four steps, which different threads may take: `read`, `restore`, `write` and `name`.

        Raises:
            ImageFileError: The picture cannot be read, or `target` is the picture itself.
        """
        if target.exists() and source.exists() and target.samefile(source):
            raise ImageFileError(f"{source}: the output would replace the input; choose another output folder.")
        if target.exists() and not self.overwrite:
            return None
        pages = open_pages(source) if format_of(target).pages else [open_source(source)]
        forms = [written_form(self._kept(page.form), target) for page in pages]
        pixels = sum(page.pixels.width * page.pixels.height for page in pages)
        whole = pixels <= self.large or self.mask is not None or not self.passes.runner.in_bands
        return Read(source, target, pages, forms, [page.read() for page in pages] if whole else None)

    def restore(self, read: "Read", on_tile: OnTile | None = None) -> "Restored":
        """Raises ImageFileError: The picture does not fit into memory, or cannot be restored."""
        with contextlib.ExitStack() as files:
            if read.pixels is None:
                done = self._in_bands(read, files, on_tile)
            else:
                every = zip(read.pages, read.pixels, read.forms, strict=True)
                done = [self._whole(picture_from(pixels, page.form), form, on_tile) for page, pixels, form in every]
            outcome = together([outcome for _, outcome in done])
            return Restored(read, [image for image, _ in done], outcome, files.pop_all())

    def write(self, restored: "Restored") -> "Written":
        """Writes all of the output but its name.

        Raises:
            ImageFileError: The output cannot be written.
        """
        read, outcome = restored.read, restored.outcome
        with restored.files, contextlib.ExitStack() as file:
            if not outcome.changed and format_of(read.source) is format_of(read.target):
                file.enter_context(file_copied(read.source, read.target))
                return Written(read, outcome, True, file.pop_all())
            file.enter_context(samples_written(read.target, restored.images, read.forms))
            return Written(read, outcome, False, file.pop_all())

    def name(self, written: "Written") -> Outcome:
        """Gives the output its name.

        Raises:
            ImageFileError: It cannot have it.
        """
        written.file.close()
        outcome = written.outcome
        lost = None if written.copied else losses(written.read.source, written.read.target)
        return replace(outcome, warnings=(*outcome.warnings, lost)) if lost else outcome

    def _in_bands(
        self, read: "Read", files: contextlib.ExitStack, on_tile: OnTile | None
    ) -> list[tuple["pyvips.Image", Outcome]]:
        done = []
        for number, form in enumerate(read.forms):
            reopen = functools.partial(open_source, read.source, page=number)
            done.append(LargePage(reopen, self.passes, read.target.parent, files).restore(self.wish, form, on_tile))
        return done

    def _kept(self, form: Form) -> Form:
        return replace(form, was_grey=form.was_grey and self.keep_grey, quality=self.quality)

    def _whole(self, picture: Picture, form: Form, on_tile: OnTile | None) -> tuple["pyvips.Image", Outcome]:
        restored, outcome = self.passes.restore(to_image(picture.rgb), self.wish, self.mask, on_tile)
        pixels = samples(to_array(restored), picture.extra, picture.form.peak, form)
        return libvips().Image.new_from_array(pixels), outcome


class Read(NamedTuple):
    """A file that is to be restored.

    Attributes:
        source: Where it is.
        target: Where its restoration is written to.
        pages: Its pages.
        forms: In which they are written.
        pixels: Of each page as `Source.read` gives them; None of a file that is restored in bands.
    """

    source: Path
    target: Path
    pages: list[Source]
    forms: list[Form]
    pixels: list[np.ndarray] | None


class Restored(NamedTuple):
    """The samples that are to be written.

    Attributes:
        read: What they were made from.
        images: Of each page.
        outcome: What was done.
        files: Files that `images` need; to be closed.
    """

    read: Read
    images: list["pyvips.Image"]
    outcome: Outcome
    files: contextlib.ExitStack


class Written(NamedTuple):
    """An output that has no name yet.

    Attributes:
        read: What it was made from.
        outcome: What was done.
        copied: Whether it is a copy of the input.
        file: Gives it its name when it is closed.
    """

    read: Read
    outcome: Outcome
    copied: bool
    file: contextlib.ExitStack


def together(outcomes: Sequence[Outcome]) -> Outcome:
    """What was done to the pages of a file: that of the first that was changed, and in words what differs from it."""
    first = next((outcome for outcome in outcomes if outcome.changed), outcomes[0])
    differing = [f"page {n}: {outcome}" for n, outcome in enumerate(outcomes, 1) if str(outcome) != str(first)]
    seconds = sum(outcome.seconds for outcome in outcomes)
    warnings = dict.fromkeys(warning for outcome in outcomes for warning in outcome.warnings)
    return replace(first, seconds=seconds, warnings=(*warnings, *differing))


@contextlib.contextmanager
def file_copied(source: Path, target: Path) -> Iterator[None]:
    """Copies a file's bytes; the copy has its name once the block ends without an error.

    Raises:
        ImageFileError: It cannot be read, or the folder cannot be written to, or the disk is full.
    """
    try:
        with source.open("rb") as original, atomic_write(target) as copy:
            shutil.copyfileobj(original, copy)
            yield
    except OSError as error:
        raise ImageFileError(f"cannot copy '{source}' to '{target}': {error.strerror or error}.") from error
