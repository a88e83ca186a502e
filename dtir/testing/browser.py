"""The browser that pages are tested in: the system's own, without a window."""

import contextlib
import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dtir.core.errors import LibraryError

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome")
# WebGL without a graphics card: the brush of the page paints with it.
_OPTIONS = ("--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


def find_browser() -> str:
    """Path of a browser of the Chromium family.

    Raises:
        LibraryError: None is installed.
    """
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        raise LibraryError(f"no headless browser: none of {', '.join(NAMES)} is installed.")
    return found


@contextlib.contextmanager
def open_browser() -> Iterator["Browser"]:
    """A browser that Playwright drives, until the block ends.

    Raises:
        LibraryError: There is no browser, or Playwright is not installed.
    """
    path = find_browser()
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise LibraryError(f"driving a browser needs playwright ({error}): pip install playwright.") from error
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=path, args=_OPTIONS) as browser:
        yield browser
