"""Trains a config: `python tools/train.py CONFIG`; the same as `dtir train CONFIG`."""

import sys

from dtir.cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
