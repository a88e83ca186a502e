"""Sections of docs/method.md that the code cites are there."""

import re
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]


def test_cited_sections_exist():
    text = (REPO / "docs" / "method.md").read_text(encoding="utf-8")
    known = set(re.findall(r"^(?:#+|\|) (\d+(?:\.\d+)?)[., ]", text, re.MULTILINE))
    cited = {
        f"{path.relative_to(REPO)}: {section}"
        for path in (REPO / "dtir").rglob("*.py")
        for section in re.findall(r"docs/method\.md, section (\d+(?:\.\d+)?)", path.read_text(encoding="utf-8"))
        if section not in known
    }

    assert {"1", "2", "3.1", "3.2", "3.3", "5", "7"} <= known
    assert cited == set()
