"""The files that come with the package: photographs, models, templates of pages, the lexicon."""

from pathlib import Path

ASSETS = Path(__file__).parents[1] / "assets"
