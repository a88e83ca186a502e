"""What one visitor has on the page: pictures in a queue, one of them chosen."""

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dtir.apis.restoring.wish import Wish
from dtir.app.pictures import Limits, Picture, take_in
from dtir.core.atomic import atomic_write
from dtir.core.errors import ImageFileError


@dataclass(frozen=True)
class Wishes:
    """What is to be done with the pictures of a run.

    Attributes:
        task: Kind of damage, or "auto".
        strength: Share of the change that is applied, in [0, 1].
        rest: Whether a picture that was painted on is restored beside the paint too.
        prompt: What is to be done in words, in place of the task and the strength; "" for nothing said.
    """

    task: str
    strength: float = 1.0
    rest: bool = False
    prompt: str = ""

    def of(self, picture: Picture) -> Wish:
        """What is to be done with one of them."""
        if self.prompt and (self.rest or not picture.mask):
            return Wish(prompt=self.prompt)
        return Wish(None if picture.mask and not self.rest else self.task, strength=self.strength)


@dataclass
class Visit:
    """The pictures of a visitor.

    Attributes:
        pictures: In their order.
        chosen: Number of the one that is shown.
        painting: Whether the brush is at hand, over the one that is shown.
        stopping: Whether the run is to end.
        archive: A ZIP file of the restored pictures of the last run, None where they were less than two.
        note: What there is to say where no picture has anything to say.
        plan: What the words of the last run come to; "" where there were none.
    """

    pictures: list[Picture] = field(default_factory=list)
    chosen: int = 0
    painting: bool = False
    stopping: bool = False
    archive: Path | None = None
    note: str = ""
    plan: str = ""

    @property
    def picture(self) -> Picture | None:
        """The one that is shown, None where there is none."""
        return self.pictures[self.chosen] if self.pictures else None

    @property
    def text(self) -> str:
        """What there is to say of the run, and of the picture that is shown."""
        said = f"{self.picture.name}: {self.picture.text}" if self.picture and self.picture.text else ""
        return "\n".join(filter(None, (self.plan, said or self.note)))

    def take(self, paths: Iterable[Path], folder: Path, limits: Limits) -> list[str]:
        """Puts files into the queue, and shows the first; returns why others were not taken."""
        first, refused = len(self.pictures), []
        for path in paths:
            try:
                self.pictures.append(take_in(path, folder, limits))
            except ImageFileError as error:
                refused.append(str(error))
        if len(self.pictures) > first:
            self.chosen = first
        self.note = ""
        return refused

    def keep_paint(self, opacity: np.ndarray | None) -> None:
        """Makes what was painted over the picture that is shown its mask, if the brush is at hand."""
        if self.painting and self.picture:
            self.picture.paint(opacity)

    def next(self, wishes: Wishes, among: list[Picture], tried: Iterable[Picture]) -> Picture | None:
        """The first of some pictures that is still in the queue, not among those tried, and not yet as wished."""
        left = (picture for picture in among if picture in self.pictures and picture not in tried)
        return next((picture for picture in left if picture.awaits(wishes.of(picture))), None)

    def pack(self) -> None:
        """Puts the restored pictures into `archive`, where there are several."""
        done = [picture.job.target for picture in self.pictures if picture.done]
        if len(done) < 2:
            return
        self.archive = self.pictures[0].before.with_name("restored.zip")
        with atomic_write(self.archive) as file, zipfile.ZipFile(file, "w") as archive:
            for number, target in enumerate(done, 1):
                taken = target.name in archive.namelist()
                archive.write(target, f"{number}_{target.name}" if taken else target.name)

    def clear(self) -> None:
        """Removes all pictures and their files."""
        self.stopping = True
        for picture in self.pictures:
            picture.remove()
        self.pictures, self.chosen, self.archive, self.note, self.plan = [], 0, None, "", ""
