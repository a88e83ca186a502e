"""Names that a user may have mistyped: the nearest valid one, for the message of an error."""

import difflib
from collections.abc import Iterable

# Lower than difflib's 0.6, so that a short name with two wrong letters still finds its own.
SIMILARITY = 0.5


def nearest_name(name: object, known: Iterable[object]) -> str | None:
    """The one of `known` that is most like `name`, compared without regard to case; None if none is similar."""
    lowered = {str(candidate).lower(): str(candidate) for candidate in sorted(known, key=str)}
    near = difflib.get_close_matches(str(name).lower(), lowered, n=1, cutoff=SIMILARITY)
    return lowered[near[0]] if near else None


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """The sentence " Did you mean '...'?", with its leading space, or nothing where no name is similar."""
    nearest = nearest_name(name, known)
    return f" Did you mean '{nearest}'?" if nearest else ""
