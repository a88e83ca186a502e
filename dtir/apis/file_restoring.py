"""Restores one picture file into another."""

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from dtir.apis.arrays import to_array, to_image
from dtir.apis.folder import OnTile
from dtir.apis.outcome import Outcome
from dtir.apis.passes import PassRestorer
from dtir.apis.wish import Wish
from dtir.core.atomic import atomic_write
from dtir.core.errors import ImageFileError
from dtir.imaging.files import read_picture, write_picture


@dataclass(frozen=True)
class FileRestorer:
    """Restores files as one wish says.

    Attributes:
        passes: Restores a picture.
        wish: What is to be done.
        mask: (H, W) bool, True where pixels are missing, of every picture; or None.
        keep_grey: Writes grey files for grey files.
        overwrite: Writes outputs that exist anew.
    """

    passes: PassRestorer
    wish: Wish
    mask: Tensor | None = None
    keep_grey: bool = True
    overwrite: bool = False

    def check(self) -> None:
        """Raises before any work what would be raised of every file; see `PassRestorer.check`."""
        self.passes.check(self.wish, self.mask is not None)

    def __call__(self, source: Path, target: Path, on_tile: OnTile | None = None) -> Outcome | None:
        """Restores `source` into `target`, in the format of its extension; None where `target` exists and stays.

        A picture that is left as it is is copied bit for bit, where the format is the same.

        Raises:
            ImageFileError: The picture cannot be read, restored or written, or `target` is the picture itself.
            TaskError, ConfigError: See `check`.
        """
        if target.exists() and source.exists() and target.samefile(source):
            raise ImageFileError(f"{source}: the output would replace the input; choose another output folder.")
        if target.exists() and not self.overwrite:
            return None
        picture = read_picture(source)
        restored, outcome = self.passes.restore(to_image(picture.rgb), self.wish, self.mask, on_tile)
        if not outcome.changed and source.suffix.lower() == target.suffix.lower():
            copy_file(source, target)
            return outcome
        picture.form = dataclasses.replace(picture.form, was_grey=picture.form.was_grey and self.keep_grey)
        write_picture(target, picture, to_array(restored))
        return outcome


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
