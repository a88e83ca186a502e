"""The page itself: what is on it, and what its buttons do. Importing it needs Gradio."""

import functools
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import gradio as gr
import numpy as np

from dtir.apis.inferencer import RestorationInferencer
from dtir.apis.restoring.passes import FILLING
from dtir.apis.restoring.wish import AUTO
from dtir.app.pictures import WAITING, Limits, Picture
from dtir.app.visit import Visit, Wishes
from dtir.core.errors import DtirError

logger = logging.getLogger(__name__)

# Hidden from other programs, and without a veil over what is looked at.
_QUIET = {"show_progress": "hidden", "api_visibility": "private"}
# The files of a visit stay a day; all of them go when the page ends.
_HOUR = 3600
# As a default it is what Gradio puts its own in place of.
_PROGRESS = gr.Progress()


class Stopped(Exception):  # noqa: N818 - nothing went wrong.
    """The visitor does not want to wait for the picture in work, or the page ends."""


class Page:
    """The page of one inferencer.

    Args:
        inferencer: Restores.
        limits: What is taken of one file.
        folder: For all files.
    """

    def __init__(self, inferencer: RestorationInferencer, limits: Limits, folder: Path) -> None:
        self.inferencer, self.limits, self.folder = inferencer, limits, folder
        # Gradio reads it when components are made.
        os.environ["GRADIO_TEMP_DIR"] = str(folder / "files")
        self.network, self.ending = threading.Lock(), threading.Event()
        with gr.Blocks(analytics_enabled=False, title="dtir", delete_cache=(_HOUR, 24 * _HOUR)) as self.blocks:
            self.visit = gr.State(Visit(), delete_callback=Visit.clear)
            gr.Markdown("# dtir\nPictures are restored on the machine that runs this page, and go nowhere else.")
            with gr.Row():
                with gr.Column(min_width=300):
                    self._build_wishes()
                with gr.Column(min_width=300, scale=2):
                    self._build_results()
            self._connect()

    def end(self) -> None:
        """Ends what is in work, at its next tile."""
        self.ending.set()

    def _build_wishes(self) -> None:
        most = f"{self.limits.megabytes:g} MB and {self.limits.megapixels:g} megapixels each at most"
        self.files = gr.File(file_count="multiple", label=f"Pictures: {most}", height=150, elem_id="files")
        self.refused = gr.Textbox(label="Not taken", visible=False, elem_id="refused")
        auto = [("find out what is wrong", AUTO)] if self.inferencer.judge.estimator is not None else []
        tasks = [*auto, *((task, task) for task in self.inferencer.tasks)]
        self.task = gr.Dropdown(tasks, value=tasks[0][1], label="Kind of damage", elem_id="task")
        self.strength = gr.Slider(
            0, 1, 1, step=0.05, label="Strength", info="share of the change that is applied", elem_id="strength"
        )
        self.prompt = gr.Textbox(
            label="Or in words, instead of kind and strength",
            placeholder="remove the rain, then brighten it a little",
            elem_id="prompt",
        )
        with gr.Row():
            self.all = gr.Button("Restore", variant="primary", min_width=120, elem_id="restore")
            self.one = gr.Button("Only this one", min_width=120, elem_id="restore-one")
        with gr.Row():
            self.stop = gr.Button("Stop", size="sm", min_width=120, elem_id="stop")
            self.clear = gr.Button("Remove all", size="sm", min_width=120, elem_id="clear")

    def _build_results(self) -> None:
        shown = {"interactive": False, "visible": False}
        self.gallery = gr.Gallery(
            label="Queue", fit_columns=False, allow_preview=False, buttons=[], elem_id="queue", **shown
        )
        self.text = gr.Textbox(label="What was found and done", interactive=False, max_lines=12, elem_id="text")
        self.slider = gr.ImageSlider(label="Before and after", type="filepath", buttons=["fullscreen"], **shown)
        with gr.Row():
            self.download = gr.DownloadButton("Download", variant="primary", visible=False, elem_id="download")
            self.zip = gr.DownloadButton("Download all (ZIP)", visible=False, elem_id="zip")
        fills = FILLING in self.inferencer.tasks
        with gr.Accordion("Brush: what is painted white is filled", open=False, visible=fills) as self.painting:
            self.rest = gr.Checkbox(label="Restore the rest of a painted picture too", elem_id="rest")
            self.editor = gr.ImageEditor(
                show_label=False,
                sources=(),
                transforms=(),
                layers=False,
                brush=gr.Brush(colors=["#ffffff"], color_mode="fixed"),
                format="png",
                elem_id="brush",
            )

    def _connect(self) -> None:
        view = [self.visit, self.gallery, self.text, self.slider, self.download, self.zip]
        seen = [self.visit, self.editor]
        taken = [self.files, self.refused, *view, self.editor]
        self.files.upload(self._take, [self.files, *seen], taken, show_progress_on=self.files, api_visibility="private")
        self.gallery.select(self._choose, seen, [*view, self.editor], **_QUIET)
        self.painting.expand(self._open_brush, self.visit, [self.visit, self.editor], **_QUIET)
        self.stop.click(_stop, self.visit, self.visit, queue=False, **_QUIET)
        self.clear.click(self._clear, self.visit, taken, **_QUIET)
        for button, restore in ((self.all, self._restore_all), (self.one, self._restore_one)):
            button.click(
                restore,
                [*seen, self.task, self.strength, self.rest, self.prompt],
                view,
                show_progress_on=self.text,
                concurrency_limit=1,
                concurrency_id="network",
                api_visibility="private",
            )

    def _take(self, files: list[str], visit: Visit, editor: dict | None) -> list:
        visit.keep_paint(_opacity(editor))
        refused = visit.take(map(Path, files), self.folder, self.limits)
        said = gr.update(value="\n".join(refused), visible=bool(refused), lines=max(1, len(refused)))
        return [None, said, *_view(visit), _paper(visit)]

    def _choose(self, visit: Visit, editor: dict | None, event: gr.SelectData) -> list:
        visit.keep_paint(_opacity(editor))
        visit.chosen = event.index
        return [*_view(visit), _paper(visit)]

    def _clear(self, visit: Visit) -> list:
        visit.clear()
        return [None, gr.update(visible=False), *_view(visit), _paper(visit)]

    def _open_brush(self, visit: Visit) -> list:
        visit.painting = True
        return [visit, _paper(visit)]

    def _restore_all(
        self, visit: Visit, editor: dict | None, task: str, strength: float, rest: bool, prompt: str, progress=_PROGRESS
    ) -> Iterator[list]:
        visit.keep_paint(_opacity(editor))
        yield from self._restore(visit, visit.pictures, Wishes(task, strength, rest, prompt.strip()), progress)

    def _restore_one(
        self, visit: Visit, editor: dict | None, task: str, strength: float, rest: bool, prompt: str, progress=_PROGRESS
    ) -> Iterator[list]:
        visit.keep_paint(_opacity(editor))
        chosen = [visit.picture] if visit.picture else []
        yield from self._restore(visit, chosen, Wishes(task, strength, rest, prompt.strip()), progress)

    def _restore(self, visit: Visit, among: list[Picture], wishes: Wishes, progress: gr.Progress) -> Iterator[list]:
        """Restores what is not yet as wished, one after the other; pictures that come meanwhile too."""
        visit.stopping, visit.archive, tried = False, None, []
        visit.note = "" if among else "Drop a picture first."
        try:
            visit.plan = str(self.inferencer.plan(wishes.prompt)) if wishes.prompt else ""
        except DtirError as error:
            visit.plan = str(error)
            yield _view(visit)
            return
        while not visit.stopping and (picture := visit.next(wishes, among, tried)):
            tried.append(picture)
            picture.begin()
            yield _view(visit)
            on_tile = functools.partial(self._on_tile, visit, progress, picture.name)
            try:
                on_tile(0, 1)
                with self.network:
                    picture.restore(self.inferencer, wishes.of(picture), on_tile)
            except Stopped:
                picture.state, visit.note = WAITING, "Stopped."
                break
            except Exception:
                logger.exception("%s", picture.job.source)
                picture.fail("dtir itself failed on this picture; the terminal in which it runs says more.")
            if picture not in visit.pictures:
                picture.remove()
            yield _view(visit)
        visit.pack()
        yield _view(visit)

    def _on_tile(self, visit: Visit, progress: gr.Progress, name: str, done: int, total: int) -> None:
        if visit.stopping or self.ending.is_set():
            raise Stopped
        progress((done, total), desc=name, unit="tiles")


def _stop(visit: Visit) -> Visit:
    visit.stopping = True
    return visit


def _view(visit: Visit) -> list:
    """The visit, and its queue, text, slider and downloads."""
    picture = visit.picture
    done = picture is not None and picture.done
    thumbnails = [(str(one.after or one.before), f"{one.name}: {one.state}") for one in visit.pictures]
    file = picture.job.target if done else None
    return [
        visit,
        gr.update(value=thumbnails, selected_index=visit.chosen if picture else None, visible=bool(thumbnails)),
        visit.text,
        gr.update(value=(str(picture.before), str(picture.after)) if done else None, visible=done),
        gr.update(value=file and str(file), label=f"Download {file.name}" if done else "Download", visible=done),
        gr.update(value=visit.archive and str(visit.archive), visible=visit.archive is not None),
    ]


def _paper(visit: Visit) -> dict | None:
    """What the brush paints on: the chosen picture, and what was painted on it before."""
    if not (visit.painting and visit.picture):
        return None
    background = cv2.imread(str(visit.picture.before), cv2.IMREAD_COLOR_RGB)
    mask = visit.picture.mask
    if mask is None:
        return {"background": background, "layers": [], "composite": None}
    white = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
    white = cv2.resize(white, background.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return {"background": background, "layers": [np.dstack([white] * 4)], "composite": None}


def _opacity(editor: dict | None) -> np.ndarray | None:
    """The opacity of the paint, (H, W) uint8; None where there is none."""
    layers = editor["layers"] if editor else []
    return np.max([layer[..., 3] for layer in layers], axis=0) if layers else None
