"""`dtir configs`: the configs that come with dtir, with a line each."""

import argparse
import itertools
import re
import textwrap
from pathlib import Path

HELP = "list the configs that come with dtir"
DESCRIPTION = (
    "Lists the configs that come with dtir. Each name works in the place of a file, `dtir train dtir::dtir/...`, and "
    "as a base of a config of your own, `_base_ = 'dtir::dtir/...'`."
)
PARTS = "_base_"
LONGEST = 110
_SENTENCE_END = re.compile(r"(?<=\.)\s+(?=[A-Z])")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `dtir configs`."""
    parser.add_argument("words", nargs="*", metavar="WORD", help="show those only that have all of these in their line")
    parser.add_argument("--parts", action="store_true", help="the parts to build configs of (_base_) as well")


def run(args: argparse.Namespace) -> int:
    """Runs `dtir configs`; returns 0, or 1 where none is found."""
    from dtir.config.locations import config_root

    words = [word.lower() for word in args.words]
    lines = [line for line in listing(config_root(), args.parts) if all(word in line.lower() for word in words)]
    print("\n".join(lines) if lines else f"No config has all of: {' '.join(args.words)}.")
    return 0 if lines else 1


def listing(root: Path, parts: bool = False) -> list[str]:
    """Names and first sentences of all configs in a folder.

    Args:
        root: The folder.
        parts: Whether those that other configs build on are listed too.
    """
    found = {
        f"dtir::{path.relative_to(root).as_posix()}": _first_sentence(path)
        for path in sorted(root.rglob("*.py"))
        if parts or PARTS not in path.parts
    }
    width = max(map(len, found))
    return [f"{name:{width}}  {text}".rstrip() for name, text in found.items()]


def _first_sentence(path: Path) -> str:
    """Of the comment that the file begins with, cut where it is too long for a line."""
    lines = itertools.takewhile(lambda line: line.startswith("#"), path.read_text(encoding="utf-8").splitlines())
    text = " ".join(line.removeprefix("#").strip() for line in lines)
    return textwrap.shorten(_SENTENCE_END.split(text, maxsplit=1)[0], LONGEST, placeholder=" ...")
