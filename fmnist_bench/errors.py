"""The one exception that a user's mistake raises, and what helps its message."""

import difflib
from collections.abc import Sequence


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message is one line that says what is wrong, where, and what is allowed. The command line
    prints it alone and exits with status 2; a library user catches it as a `ValueError`.
    """


def nearest(name: str, names: Sequence[str]) -> str:
    """Say which of `names` was perhaps meant, or nothing."""
    found = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {found[0]}?" if found else ""
