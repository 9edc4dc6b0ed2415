"""The one exception that a user's mistake raises, and what helps its message."""

from __future__ import annotations

import difflib
import traceback
from collections.abc import Sequence


class InputError(ValueError):
    """Something that the user gave cannot be used.

    The message is one line that says what is wrong, where, and what is allowed. The command line
    prints it alone and exits with status 2; a library user catches it as a `ValueError`.
    """

    def __init__(self, message: str) -> None:
        # What other libraries say, of a TOML file for instance, goes over several lines.
        super().__init__(" ".join(line.strip() for line in message.splitlines()))


class PredictionError(ValueError):
    """A classifier predicts what are no class probabilities; the message is one sentence without a subject."""


def nearest(name: str, names: Sequence[str], likeness: float = 0.6) -> str:
    """Say which of `names` was perhaps meant, or nothing; `likeness` from 0 to 1 is what it takes."""
    found = difflib.get_close_matches(name, names, n=1, cutoff=likeness)
    return f"; did you mean {found[0]}?" if found else ""


def describe(error: Exception) -> str:
    """Say in one line what went wrong, and where; what this package says of a user's model needs no place."""
    if isinstance(error, PredictionError | InputError):
        return printable(error)
    where = traceback.extract_tb(error.__traceback__)[-1]
    first_line = (printable(error, keep="\n").strip() or "no message").splitlines()[0]
    return f"{type(error).__name__}: {first_line[:300]} ({where.filename.rpartition('/')[2]}, line {where.lineno})"


def printable(text: object, keep: str = "") -> str:
    r"""Make the words of others fit for a terminal and a database: no control characters, no half surrogate pairs.

    Examples
    --------
    >>> printable("two\nlines, a bell \a")
    'two lines, a bell �'
    """
    try:
        letters = str(text)
    except Exception:  # an exception's own, of a class that is not ours
        letters = f"a {type(text).__name__} that cannot be written"
    return "".join(
        c if c.isprintable() or c in keep else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in letters
    )


def one_line(message: object) -> str:
    """Return `message` as text without line breaks."""
    return " ".join(str(message).split())
