"""When a training that was asked to end early must be over: the coordinator sets it, trainings read it."""

import math
import time


class _End:
    moment = math.inf


def ask(seconds: float) -> None:
    """Ask the trainings of this process to end their schedules within so many seconds."""
    _End.moment = time.monotonic() + seconds


def is_asked() -> bool:
    """Whether somebody has."""
    return _End.moment < math.inf


def moment() -> float:
    """By ``time.monotonic()``, infinite where nobody has asked."""
    return _End.moment
