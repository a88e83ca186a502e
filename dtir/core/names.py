"""Names in messages: the valid one nearest to what was mistyped, and names of files that hold more than letters."""

import difflib
import unicodedata
from collections.abc import Iterable

# Lower than difflib's 0.6, so that a short name with two wrong letters still finds its own.
SIMILARITY = 0.5
# Control characters, halves of characters, ends of lines and paragraphs.
_UNSEEN = ("Cc", "Cs", "Zl", "Zp")
# They turn the direction of the text that follows.
_TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def nearest_name(name: object, known: Iterable[object]) -> str | None:
    """The one of `known` that is most like `name`, compared without regard to case; None if none is similar."""
    lowered = {str(candidate).lower(): str(candidate) for candidate in sorted(known, key=str)}
    near = difflib.get_close_matches(str(name).lower(), lowered, n=1, cutoff=SIMILARITY)
    return lowered[near[0]] if near else None


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """The sentence " Did you mean '...'?", with its leading space, or nothing where no name is similar."""
    nearest = nearest_name(name, known)
    return f" Did you mean '{nearest}'?" if nearest else ""


def printable(text: object) -> str:
    """A text on one line of a terminal, such as a path: what would move the cursor, colour or turn it is escaped."""
    return "".join(map(_printable, str(text)))


def _printable(letter: str) -> str:
    escaped = unicodedata.category(letter) in _UNSEEN or letter in _TURNING
    return letter.encode("unicode_escape").decode() if escaped else letter
