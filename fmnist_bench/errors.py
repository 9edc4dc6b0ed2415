"""The one exception that a user's mistake raises, and what helps its message."""

import difflib
from collections.abc import Sequence


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message is one line that says what is wrong, where, and what is allowed. The command line
    prints it alone and exits with status 2; a library user catches it as a `ValueError`.
    """

    def __init__(self, message: str) -> None:
        # What other libraries say, of a TOML file for instance, goes over several lines.
        super().__init__(" ".join(line.strip() for line in message.splitlines()))


def nearest(name: str, names: Sequence[str], likeness: float = 0.6) -> str:
    """Say which of `names` was perhaps meant, or nothing; `likeness` from 0 to 1 is what it takes."""
    found = difflib.get_close_matches(name, names, n=1, cutoff=likeness)
    return f"; did you mean {found[0]}?" if found else ""
