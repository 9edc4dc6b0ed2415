"""The wish to stop the trials in progress, in two degrees."""

import threading

FINISH_SHARE, LEAST_FINISH = 0.1, 15.0  # of the time it has had, and seconds, in which a training ends its schedule


class Stop(threading.Event):
    """Set, it ends the trials in progress; a network in the train phase ends its schedule first.

    Attributes
    ----------
    at_once : Event
        Set, it ends that as well.
    """

    def __init__(self) -> None:
        super().__init__()
        self.at_once = threading.Event()


def seconds_to_finish(elapsed: float) -> float:
    """Seconds in which a training that has gone on for `elapsed` seconds ends its schedule.

    Examples
    --------
    >>> seconds_to_finish(20.0), seconds_to_finish(600.0)
    (15.0, 60.0)
    """
    return max(FINISH_SHARE * elapsed, LEAST_FINISH)
