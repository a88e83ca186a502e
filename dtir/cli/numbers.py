"""Numbers on the command line, which argparse checks before any work."""

import argparse


def positive_int(text: str) -> int:
    """An integer of at least 1, as `type` of an argument."""
    return _integer(text, 1)


def natural(text: str) -> int:
    """An integer of at least 0, as `type` of an argument."""
    return _integer(text, 0)


def _integer(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"'{text}'; expected an integer of at least {least}")
    return value
