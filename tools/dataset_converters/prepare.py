"""Brings a published benchmark into the form that the configs read: OUT/<split>/<task>/{LQ,GT} with a manifest.

    python tools/dataset_converters/prepare.py lol_v1 --source LOLdataset.zip --out data
    python tools/dataset_converters/prepare.py raindrop --source train.zip --source test_a.zip --out data

Pictures of a folder are linked to (relative symbolic links) unless --copy is given, those of an archive copied. A run
that was stopped is run again and goes on. docs/datasets.md has a section for every benchmark.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dtir.cli.numbers import positive_int
from dtir.core.cores import usable_cores
from dtir.core.errors import DtirError
from dtir.datasets.benchmarks import (
    BENCHMARKS,
    Manifest,
    get_benchmark,
    open_source,
    prepare,
    read_names,
)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", metavar="NAME", help=f"benchmark: {', '.join(BENCHMARKS)}")
    parser.add_argument(
        "--source", action="append", required=True, metavar="PATH", help="archive (zip, tar) or folder; may be repeated"
    )
    parser.add_argument("--out", default="data", metavar="DIR", help="folder of all prepared sets (data)")
    parser.add_argument("--copy", action="store_true", help="copy instead of linking")
    parser.add_argument("--layout", default="", metavar="NAME", help="layout to take instead of the first that fits")
    parser.add_argument("--names", metavar="FILE", help="list of the pictures to take, a name or path a line")
    parser.add_argument(
        "--workers", type=positive_int, default=usable_cores(), help="pictures at a time (as many as cores)"
    )
    args = parser.parse_args(argv)
    return args


def summary(manifest: Manifest, out: str) -> str:
    """A line on one part."""
    count = f"{manifest.pairs} pairs"
    if manifest.expected and manifest.pairs not in manifest.expected:
        count += f" (expected {manifest.expected[0]}; is the source complete?)"
    return f"{Path(out, manifest.folder)}: {count}, from '{manifest.layout}'"


def main(argv: Sequence[str] | None = None) -> int:
    """Prepares and says what was prepared; returns the exit code, 2 for a user's error."""
    args = parse(argv)
    try:
        benchmark = get_benchmark(args.name)
        names = read_names(Path(args.names), benchmark.task) if args.names else None
        sources = [open_source(path) for path in args.source]
        manifests = prepare(benchmark, sources, Path(args.out), args.copy, args.layout, names, args.workers)
    except DtirError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    for manifest in manifests:
        print(summary(manifest, args.out))
    missing = {part.folder for part in benchmark.parts} - {manifest.folder for manifest in manifests}
    for folder in sorted(missing):
        print(f"{Path(args.out, folder)}: not in these sources")
    return 0


if __name__ == "__main__":
    sys.exit(main())
