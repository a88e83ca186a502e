"""Libraries that come with an extra: one that is missing is an error that names the extra."""

import contextlib
from collections.abc import Iterator

from dtir.core.errors import MissingExtraError


@contextlib.contextmanager
def needs_extra(user: str, extra: str) -> Iterator[None]:
    """Around the imports of a library that comes with an extra.

    Args:
        user: What needs it, such as "this metric".
        extra: Its name, as of a file in `requirements`.

    Raises:
        MissingExtraError: An import fails.
    """
    try:
        yield
    except ImportError as error:
        raise missing_extra(user, extra, error) from error


def missing_extra(user: str, extra: str, reason: object) -> MissingExtraError:
    """What `needs_extra` raises, for a library that is looked for without importing it."""
    return MissingExtraError(f"{user} needs the extra '{extra}' ({reason}): pip install 'dtir[{extra}]'.")
