"""The picture of the page of `dtir app` in README.md: photographs of the package, damaged, restored on the page.

Needs the extra `app`, playwright, and a browser of the Chromium family.

python tools/misc/app_screenshot.py docs/images/app.jpg
"""

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dtir.apis.inferencer import RestorationInferencer
from dtir.app import require_gradio
from dtir.app.pictures import Limits
from dtir.app.workplace import workplace
from dtir.cli.output import print_error
from dtir.core.atomic import atomic_write
from dtir.core.errors import DtirError
from dtir.testing.browser import open_browser
from tools.misc.quickstart_pictures import PHOTOS

if TYPE_CHECKING:
    from playwright.sync_api import Page as Tab

SHOWN = ("dark.jpg", "noisy.jpg", "rainy.jpg")
# Of the window, in pixels; the picture is as high as the page.
SIZE = {"width": 1280, "height": 720}
PHONE = {"width": 390, "height": 844}
QUALITY = 80
PATIENCE = 120_000
LOADED = "[...document.images].every((image) => image.complete && image.naturalWidth)"


def main() -> int:
    """Serves the page, uses it in a browser, and writes what is seen; returns 2 where it cannot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", help="the picture to write, .jpg")
    parser.add_argument("--phone", action="store_true", help=f"in a window {PHONE['width']} pixels wide")
    args = parser.parse_args()
    try:
        require_gradio()
        picture = screenshot(PHONE if args.phone else SIZE)
    except DtirError as error:
        print_error(f"Error: {error}")
        return 2
    with atomic_write(Path(args.out)) as file:
        file.write(picture)
    print(f"wrote {args.out}, {len(picture) / 1000:.0f} kB")
    return 0


def screenshot(size: dict[str, int]) -> bytes:
    """A JPEG of the page in a window of some width and height, after use.

    Raises:
        LibraryError: Playwright or the browser is missing.
    """
    from dtir.app.page import Page
    from dtir.app.server import served

    with contextlib.ExitStack() as opened:
        browser = opened.enter_context(open_browser())
        page = Page(RestorationInferencer(), Limits(), opened.enter_context(workplace()))
        tab = browser.new_page(viewport=size)
        tab.set_default_timeout(PATIENCE)
        tab.goto(opened.enter_context(served(page)))
        use(tab)
        return tab.screenshot(type="jpeg", quality=QUALITY, full_page=True)


def use(tab: "Tab") -> None:
    """Restores the pictures."""
    tab.wait_for_selector("#restore")
    damaged = PHOTOS.parent / "damaged"
    tab.set_input_files("#files input[type=file]", [damaged / name for name in SHOWN])
    tab.wait_for_selector("#queue img")
    tab.click("#restore")
    tab.wait_for_selector("#zip:visible")
    for name in SHOWN:
        tab.get_by_text(f"{name}: restored").wait_for()
    tab.wait_for_function(LOADED)
    tab.mouse.move(0, 0)


if __name__ == "__main__":
    sys.exit(main())
