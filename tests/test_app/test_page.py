"""The page in a headless browser, as a visitor uses it."""

import contextlib
import io
import os
import re
import socket
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dtir import cli
from dtir.app.pictures import FAILED, RESTORED, WAITING, WORKING, Limits
from dtir.app.visit import Visit
from dtir.core.errors import LibraryError
from dtir.testing.browser import open_browser

pytest.importorskip("gradio", reason="gradio is not installed: pip install 'dtir[app]'")

from dtir.app.page import Page
from dtir.app.server import served

LIMITS = Limits(megapixels=1, megabytes=0.5)
# Milliseconds; on a busy machine the page takes its time.
PATIENCE = 60_000
WIDTHS = {"desktop": 1280, "phone": 390}


@pytest.fixture(scope="module")
def page(inferencer, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", "set by the page")
        yield Page(inferencer, LIMITS, tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def called():
    """Addresses outside of this machine that this process connects to."""
    addresses, connect = [], socket.socket.connect

    def watched(self, address):
        if self.family != socket.AF_UNIX and address[0] not in ("127.0.0.1", "::1", "localhost"):
            addresses.append(address)
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", watched)
        yield addresses


@pytest.fixture(scope="module")
def url(page, called):
    with served(page) as found:
        yield found


@pytest.fixture(scope="module")
def browser():
    with contextlib.ExitStack() as opened:
        try:
            yield opened.enter_context(open_browser())
        except LibraryError as error:
            pytest.skip(str(error))


@pytest.fixture
def tab(browser, url, request):
    """The page in a window of a width; nothing may go wrong in it, or be asked for elsewhere."""
    width = WIDTHS[getattr(request, "param", "desktop")]
    narrow = width < 500
    with browser.new_context(viewport={"width": width, "height": 844}, is_mobile=narrow, has_touch=narrow) as context:
        opened = context.new_page()
        opened.set_default_timeout(PATIENCE)
        asked, wrong = [], []
        opened.on("request", lambda asking: asked.append(asking.url))
        opened.on("pageerror", lambda error: wrong.append(str(error)))
        opened.goto(url)
        opened.wait_for_selector("#restore")
        yield opened
        assert wrong == []
        assert len(asked) > 10
        assert [one for one in asked if not one.startswith((url, "data:", "blob:"))] == []


def drop(tab, *paths):
    """Uploads, and waits until the pictures among the files are in the queue."""
    tab.set_input_files("#files input[type=file]", list(map(str, paths)))
    tab.wait_for_selector("#queue img")


def downloaded(tab, button) -> tuple[str, bytes]:
    tab.wait_for_selector(f"{button}:visible")
    with tab.expect_download() as download:
        tab.click(button)
    return download.value.suggested_filename, Path(download.value.path()).read_bytes()


def overflow(tab) -> int:
    return tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")


def text(tab, name) -> str:
    return tab.locator(f"{name} textarea").input_value()


def command(path, out, *options) -> bytes:
    assert cli.main(["restore", str(path), "--out", str(out), "--device", "cpu", *options]) == 0
    return (out / path.name).read_bytes()


def test_a_dropped_picture_is_restored_compared_and_downloaded_and_others_are_refused(tab, pictures, tmp_path, called):
    (pictures / "huge.png").write_bytes(bytes(LIMITS.bytes + 1))
    tab.set_input_files("#files input[type=file]", str(pictures / "huge.png"))
    said = tab.locator(".toast-body").inner_text()
    assert 'exceed the maximum allowed size of 512.0 Kb: "huge.png"' in said
    (pictures / "notes.txt").write_text("no picture")
    drop(tab, pictures / "scan.jpg", pictures / "notes.txt")
    tab.wait_for_selector("#refused")
    assert text(tab, "#refused").startswith("'notes.txt' has no known picture extension")
    tab.click("#task input")
    tab.get_by_role("option", name="noisy").click()
    tab.locator("#strength input[type=number]").fill("0.5")
    tab.locator("#strength input[type=number]").press("Tab")
    tab.click("#restore")
    name, data = downloaded(tab, "#download")
    assert name == "scan_restored.jpg"
    assert data == command(pictures / "scan.jpg", tmp_path / "out", "--task", "noisy", "--strength", "0.5")
    assert re.fullmatch(r"scan\.jpg: noisy, step \d+; strength 0\.5", text(tab, "#text"))
    before, after = tab.locator("[data-testid=imageslider-image]").all()
    sizes = [picture.evaluate("(image) => [image.naturalWidth, image.naturalHeight]") for picture in (before, after)]
    assert sizes == [[64, 96], [64, 96]]
    handle = tab.locator("[data-testid=slider]")
    clips = [after.evaluate("(image) => image.style.clipPath")]
    box = handle.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 100, y, steps=4)
    tab.mouse.up()
    clips.append(after.evaluate("(image) => image.style.clipPath"))
    shares = [float(re.search(r"([\d.]+)%\)", clip)[1]) for clip in clips]
    assert shares[0] == 50
    assert shares[1] > 55
    assert called == []


def test_several_pictures_go_through_the_queue_and_into_one_file(tab, pictures):
    names = ["scan.jpg", "cut out.png", "deep.tif"]
    drop(tab, *(pictures / name for name in names))
    tab.click("#task input")
    tab.get_by_role("option", name="noisy").click()
    tab.click("#restore")
    for name in names:
        tab.get_by_text(f"{name}: restored").wait_for()
    tab.locator("#queue button").nth(2).click()
    tab.get_by_text("Download deep_restored.tif").wait_for()
    assert text(tab, "#text").startswith("deep.tif: noisy")
    name, data = downloaded(tab, "#zip")
    assert name == "restored.zip"
    assert zipfile.ZipFile(io.BytesIO(data)).namelist() == [
        "scan_restored.jpg",
        "cut out_restored.png",
        "deep_restored.tif",
    ]
    tab.click("#clear")
    tab.locator("#queue").wait_for(state="hidden")


@pytest.mark.parametrize("tab", ["phone"], indirect=True)
def test_what_is_said_in_words_is_done_and_its_plan_shown(tab, pictures, tmp_path, capsys):
    drop(tab, pictures / "scan.jpg")
    words = "remove half of the noise"
    tab.locator("#prompt textarea, #prompt input").fill("make me a sandwich")
    tab.click("#restore")
    tab.wait_for_function("document.querySelector('#text textarea').value.includes('not understood: sandwich')")
    tab.locator("#prompt textarea, #prompt input").fill(words)
    tab.click("#restore")
    _, data = downloaded(tab, "#download")
    assert data == command(pictures / "scan.jpg", tmp_path / "out", "--prompt", words)
    plan, said = capsys.readouterr().out.split("\n", 2)[:2], text(tab, "#text").split("\n")
    assert plan == said[:2]
    assert said[2].startswith("scan.jpg: noisy, step")
    assert overflow(tab) == 0


@pytest.mark.parametrize("tab", ["phone"], indirect=True)
def test_on_a_phone_nothing_is_wider_than_the_page_and_the_brush_fills(tab, pictures):
    assert overflow(tab) == 0
    drop(tab, pictures / "cut out.png")
    tab.get_by_text("Brush:").click()
    canvas = tab.locator("#brush canvas").first
    canvas.wait_for()
    # The picture is there once it is zoomed to the width.
    tab.wait_for_function("!document.querySelector('#brush').innerText.includes('100%')")
    tab.wait_for_timeout(1000)
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 15, y, steps=4)
    tab.mouse.up()
    tab.click("#restore")
    _, data = downloaded(tab, "#download")
    assert overflow(tab) == 0
    assert text(tab, "#text").startswith("cut out.png: inpainting")
    before, after = (np.asarray(Image.open(file)) for file in (pictures / "cut out.png", io.BytesIO(data)))
    changed = (before != after).any(2)
    assert changed[32, 48]
    assert not changed[:, :10].any()
    assert (before[..., 3] == after[..., 3]).all()


class Watched:
    """In place of Gradio's progress: keeps what it is told, and does something then."""

    def __init__(self, do=lambda: None):
        self.told, self.do = [], do

    def __call__(self, share, desc, unit):
        self.told.append((desc, *share))
        self.do()


def run(page, visit, progress):
    return list(page._restore_all(visit, None, "noisy", 1.0, False, "", progress))


def test_a_run_that_is_stopped_leaves_the_picture_waiting(page, pictures):
    visit = Visit()
    visit.take([pictures / "scan.jpg", pictures / "deep.tif"], page.folder, LIMITS)
    run(page, visit, Watched(lambda: setattr(visit, "stopping", True)))
    assert [picture.state for picture in visit.pictures] == [WAITING, WAITING]
    assert not visit.pictures[0].job.target.exists()
    assert visit.text == "Stopped."
    progress, states = Watched(lambda: states.append([picture.state for picture in visit.pictures])), []
    run(page, visit, progress)
    assert states[0] == [WORKING, WAITING]
    assert states[-1] == [RESTORED, WORKING]
    assert [picture.state for picture in visit.pictures] == [RESTORED, RESTORED]
    assert progress.told == [(name, done, 1) for name in ("scan.jpg", "deep.tif") for done in (0, 1)]


def test_a_picture_that_comes_while_others_are_restored_is_restored_too(page, pictures):
    visit = Visit()
    visit.take([pictures / "scan.jpg"], page.folder, LIMITS)
    late = iter([pictures / "deep.tif"])
    run(page, visit, Watched(lambda: visit.take([*late], page.folder, LIMITS)))
    assert [picture.state for picture in visit.pictures] == [RESTORED, RESTORED]


def test_a_fault_of_the_program_is_a_sentence_on_the_page_and_a_traceback_in_the_terminal(
    page, pictures, monkeypatch, caplog
):
    def broken(*arguments, **options):
        raise RuntimeError("a fault")

    monkeypatch.setattr(page.inferencer, "file_restorer", broken)
    visit = Visit()
    visit.take([pictures / "scan.jpg"], page.folder, LIMITS)
    run(page, visit, Watched())
    assert visit.pictures[0].state == FAILED
    assert visit.text == "scan.jpg: dtir itself failed on this picture; the terminal in which it runs says more."
    assert "RuntimeError: a fault" in caplog.text


def test_files_of_the_page_lie_in_its_folder(page):
    assert Path(os.environ["GRADIO_TEMP_DIR"]).parent == page.folder
