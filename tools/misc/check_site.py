"""Checks the pages of a built documentation site: every link within it, anchors too, and that nothing is loaded from
the network.

python tools/misc/check_site.py docs/_build/html
"""

import argparse
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Elements whose address is loaded with the page, rather than gone to.
LOADED = {("script", "src"), ("img", "src"), ("source", "src"), ("video", "src"), ("link", "href")}
# Relations of a `link` element that nothing is loaded for.
NAMED = {"author", "canonical", "index", "next", "prev", "search", "top"}


class Page(HTMLParser):
    """What a page links to and what can be linked to in it.

    Attributes:
        anchors: Values of `id` and `name`.
        links: Addresses, and whether they are loaded with the page.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: set[tuple[str, bool]] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Called by the parser for each element."""
        values = dict(attrs)
        self.anchors |= {value for key in ("id", "name") if (value := values.get(key))}
        named = tag == "link" and values.get("rel") in NAMED
        for key in ("href", "src"):
            if values.get(key):
                self.links.add((values[key], (tag, key) in LOADED and not named))


def problems(root: Path) -> list[str]:
    """What is wrong with the pages of a folder, a line each."""
    pages = {path: Page(path) for path in sorted(root.resolve().rglob("*.html"))}
    return [
        f"{path.relative_to(root.resolve())}: {address}: {problem}"
        for path, page in pages.items()
        for address, loaded in sorted(page.links)
        if (problem := _problem(path, address, loaded, pages))
    ]


def _problem(path: Path, address: str, loaded: bool, pages: dict[Path, Page]) -> str:
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return "loaded from the network" if loaded and parts.scheme != "data" else ""
    target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
    if target.is_dir():
        target /= "index.html"
    if not target.is_file():
        return "no such file"
    anchor = unquote(parts.fragment)
    if anchor and target in pages and anchor not in pages[target].anchors:
        return "no such anchor"
    return ""


def main() -> int:
    """Prints what is wrong; returns 1 if anything is."""
    parser = argparse.ArgumentParser(description="Checks the links of a built documentation site.")
    parser.add_argument("folder", type=Path, help="folder of the built pages")
    args = parser.parse_args()
    if not (args.folder / "index.html").is_file():
        parser.error(f"{args.folder}/index.html does not exist; build the site first: bash tools/build_docs.sh")
    found = problems(args.folder)
    print("\n".join(found) if found else f"Every link within {args.folder} leads somewhere.")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
