"""The wish to stop the trials in progress, in two degrees, and the signals that tell it."""

import contextlib
import os
import signal
import stat
import threading
from collections.abc import Callable, Iterator
from typing import Any

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


@contextlib.contextmanager
def stops_on_signal(interrupt: Callable[[], bool]) -> Iterator[None]:
    """Let the first Ctrl-C, SIGTERM or SIGHUP end the search alone; one that is nothing new ends the program."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    if before[signal.SIGHUP] is signal.SIG_IGN:  # by nohup
        del before[signal.SIGHUP]

    def handle(number: int, frame: Any) -> None:
        if number == signal.SIGHUP:  # of a terminal that is closed shell and kernel tell: from now on it is ignored
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            before.pop(signal.SIGHUP, None)
            _leave_terminal()
        if not interrupt() and number != signal.SIGHUP:
            raise KeyboardInterrupt

    for number in before:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)


def _leave_terminal() -> None:
    """Say nothing more to a terminal that is gone: writing to it is an error."""
    for stream in (1, 2):
        with contextlib.suppress(OSError):
            if stat.S_ISCHR(os.fstat(stream).st_mode) and not os.isatty(stream):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream)
                os.close(nowhere)
