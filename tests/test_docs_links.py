"""Links between the Markdown files and notebooks of the repository lead to files and headings that are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    path
    for pattern in (
        "*.md",
        ".github/**/*.md",
        "docs/*.md",
        "docs/benchmarks/*.md",
        "docs/notebooks/*.ipynb",
        "dtir/assets/**/*.md",
    )
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
CODE = re.compile(r"^( *)```.*?^ *```|`[^`\n]*`", re.MULTILINE | re.DOTALL)
# Written by the build of the site, which checks the links to them.
BUILT = (ROOT / "docs" / "api", ROOT / "docs" / "gallery")


def anchors(path: Path) -> set[str]:
    """Anchors of the headings, as GitHub and the site make them."""
    text = re.sub(r"^( *)```.*?^ *```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    kept = (re.sub(r"[^\w\- ]", "", title.lower()) for title in HEADING.findall(text))
    return {title.strip().replace(" ", "-") for title in kept}


def problem(path: Path, address: str) -> str:
    if re.match(r"[a-z]+:", address):
        return ""
    place, _, anchor = address.partition("#")
    target = (path.parent / place).resolve() if place else path
    if any(target.is_relative_to(folder) for folder in BUILT):
        return ""
    if not target.exists():
        return f"{address}: no such file"
    return f"{address}: no such heading" if anchor and anchor not in anchors(target) else ""


def broken(path: Path) -> list[str]:
    text = CODE.sub("", path.read_text(encoding="utf-8"))
    return [line for address in LINK.findall(text) if (line := problem(path, address))]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path):
    assert broken(path) == []


def test_what_is_broken_is_found(tmp_path):
    (tmp_path / "other.md").write_text("# A `b`, c\n\n```text\n# no heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "[1](other.md#a-b-c) [2](other.md#no-heading) [3](none.md) [4](#here) [5](https://a.b) `[6](none.md)`"
        "\n\n## Here\n"
    )
    assert broken(page) == ["other.md#no-heading: no such heading", "none.md: no such file"]
