"""Evaluates a checkpoint on the test data of its config; the same as `dtir test CONFIG CHECKPOINT`."""

import sys

from dtir.cli import main

if __name__ == "__main__":
    sys.exit(main(["test", *sys.argv[1:]]))
