"""Downloads that are given up in seconds where nobody answers."""

import logging
import sys
import threading
from pathlib import Path

READ_SECONDS = 20.0  # without a byte


def fetch(address: str, target: Path, seconds: float, log: logging.Logger | None = None) -> None:
    """Download a file.

    Parameters
    ----------
    address : str
    target : Path
        Holds a part of it where the download fails.
    seconds : float
        For the first answer.
    log : Logger or None
        Where there is one that tells, and a terminal to draw it on, a bar is shown.

    Raises
    ------
    OSError
        Where nobody answers, or not with the file.
    """
    from pooch import HTTPDownloader

    _await(address, seconds)
    bar = log is not None and log.isEnabledFor(logging.INFO) and sys.stderr.isatty()
    HTTPDownloader(bar, 1 << 16, timeout=(seconds, READ_SECONDS))(address, str(target), None)


def _await(address: str, seconds: float) -> None:
    """Wait until an address answers.

    A time-out of requests counts for each address of a host and not for its resolver, so only a thread that is left
    behind keeps a network that drops packets from taking minutes.
    """
    import requests

    came: list[OSError | None] = []

    def ask() -> None:
        try:
            requests.head(address, timeout=seconds, allow_redirects=True)
            came.append(None)
        except OSError as error:  # requests' errors are
            came.append(error)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(seconds)
    if not came:
        raise TimeoutError(f"no answer in {seconds:g} s")
    if came[0] is not None:
        raise came[0]
