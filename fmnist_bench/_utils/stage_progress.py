"""Progress of a long computation, such as the features of all rows, for whoever watches this process."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

PREDICTING = "predicting the validation rows"  # the last stage of a trial: it is trained, and must not be lost any more
FINE_TUNING = "fine-tuning"  # of a network that was scored
T = TypeVar("T")
Listener = Callable[[str, float], None]  # gets the name of the computation and the share of it that is done
PAUSE = 0.5  # seconds between two words at least, also before the first: what is shorter is not worth a word


class _Ear:
    """The listener, and what it last heard."""

    listener: Listener | None = None
    what, share, told = "", 1.0, 0.0
    knows = False  # that this computation has begun, and so wants to know that it has ended


def listen(listener: Listener | None) -> None:
    """Have `listener` called from now on; None for nobody."""
    _Ear.listener, _Ear.share = listener, 1.0


def tell(what: str, share: float) -> None:
    """Say that a share, 0 to 1, of a computation is done; heard twice a second at most, and at the end."""
    now = time.monotonic()
    if what != _Ear.what or share < _Ear.share:  # another one has begun
        _Ear.told, _Ear.knows = now, False
    _Ear.what, _Ear.share = what, share
    if _Ear.listener is not None and (now - _Ear.told >= PAUSE or (share >= 1 and _Ear.knows)):
        _Ear.told, _Ear.knows = now, True
        _Ear.listener(what, share)


def enter(what: str) -> None:
    """Say at once that a stage has begun, however short it will be."""
    if _Ear.listener is not None:
        _Ear.listener(what, 0.0)


def in_parts(what: str, parts: Sequence[T]) -> Iterator[T]:
    """Go through the parts of a computation, and tell after each how far it is.

    Examples
    --------
    >>> sum(in_parts("sum", [1, 2, 3]))
    6
    """
    for done, part in enumerate(parts, 1):
        yield part
        tell(what, done / len(parts))
