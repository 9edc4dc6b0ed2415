"""A progress bar for a download, where there is a terminal to draw it on."""

import logging
import sys
from typing import Any

log = logging.getLogger(__name__)


def download_bar(what: str) -> Any:
    """Return a bar as `pooch.HTTPDownloader` takes it, False where nobody would see it."""
    return DownloadBar(what) if sys.stderr.isatty() and log.isEnabledFor(logging.INFO) else False


class DownloadBar:
    """Bytes of one file after another, on standard error; tqdm's interface as far as pooch uses it.

    Parameters
    ----------
    what : str
        Name of what is downloaded.
    console : rich.console.Console or None
        None: standard error.
    """

    def __init__(self, what: str, console: Any = None) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
        self._bar = Progress(*columns, console=console or Console(stderr=True), transient=True)
        self._task = self._bar.add_task(what, total=None)

    @property
    def total(self) -> float | None:
        """Bytes of the file."""
        return self._bar.tasks[0].total

    @total.setter
    def total(self, n: int) -> None:
        self._bar.reset(self._task, total=n or None)
        self._bar.start()

    def update(self, n: int) -> None:
        """Count `n` bytes more."""
        self._bar.advance(self._task, n)

    def reset(self) -> None:
        """Begin to count again."""
        self._bar.reset(self._task)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()
