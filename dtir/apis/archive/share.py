"""One of several equal parts of the work, so that machines which know nothing of each other do it together."""

import hashlib
import re
from pathlib import Path
from typing import NamedTuple

from dtir.core.errors import ConfigError


class Share(NamedTuple):
    """Part `number` of `parts`, counted from 1; which part a picture is in follows from its path alone."""

    number: int = 1
    parts: int = 1

    def holds(self, path: Path) -> bool:
        """Whether a path is in this part, and in no other."""
        digest = hashlib.blake2b(str(path).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest, "little") % self.parts == self.number - 1


ALL = Share()


def parse_share(text: str) -> Share:
    """The share that a text such as "3/16" names.

    Raises:
        ConfigError: It names none.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    share = Share(*map(int, found.groups())) if found else None
    if share is None or not 1 <= share.number <= share.parts:
        raise ConfigError(f"the share '{text}' is none; of 16 equal ones, the first is 1/16 and the last 16/16.")
    return share
