"""Trains a config: `python tools/train.py CONFIG`; the same as `dtir train CONFIG`."""

from dtir.cli.main import main_of_a_tool

if __name__ == "__main__":
    main_of_a_tool("train")
