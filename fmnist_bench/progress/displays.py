"""What shows the events of a run: a live table on a terminal or in a notebook, plain lines in a log, JSON."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from fmnist_bench.progress.events import Progress, clock, listed, percent, trial_name, words
from fmnist_bench.progress.json_events import JsonLines
from fmnist_bench.progress.live_table import LiveTable
from fmnist_bench.progress.notebook_table import NotebookTable, in_notebook

__all__ = ["JsonLines", "PlainLines", "Progress", "make_progress"]


def make_progress(
    stream: TextIO | None = None, quiet: bool = False, as_json: bool = False, transient: bool = False
) -> Progress:
    """Choose the display that fits.

    Parameters
    ----------
    stream : file object or None
        A terminal that can move its cursor gets `LiveTable`, everything else `PlainLines`. None: standard output; in
        a notebook `NotebookTable`.
    quiet : bool
        Show nothing.
    as_json : bool
        `JsonLines`, whatever the stream is.
    transient : bool
        Whether a `LiveTable` goes at the end, where a leaderboard follows.

    Returns
    -------
    Progress
        Ready for `run_started`.
    """
    if quiet:
        return Progress()
    if stream is None and not as_json and in_notebook():
        return NotebookTable()
    stream = stream or sys.stdout
    if as_json:
        return JsonLines(stream)
    if not stream.isatty():
        return PlainLines(stream)
    from rich.console import Console

    console = Console(file=stream)
    return PlainLines(stream) if console.is_dumb_terminal else LiveTable(console, transient)


class PlainLines(Progress):
    """One line an event, with the time that the run has used; steps within a trial are silent.

    Parameters
    ----------
    stream : file object
        Where the lines go; flushed after each.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._start = time.monotonic()

    def run_started(self, title: str, budget: float | None, studies: list[str], spent: float = 0.0) -> None:  # noqa: D102
        self._start = time.monotonic() - spent
        extent = "no time limit" if budget is None else f"budget {clock(budget)}"
        self.message(f"{title}: {listed(studies)}, {extent}; Ctrl-C ends the search and keeps everything")

    def study_state(self, study: str, counts: dict[str, int], best: float | None, seconds: float) -> None:  # noqa: D102
        if counts:
            trials = ", ".join(f"{count} {status}" for status, count in counts.items())
            self.message(
                f"{study}: resumed after {trials}, best validation accuracy {percent(best)}, {clock(seconds)} spent"
            )

    def trial_started(self, study: str, number: int) -> None:  # noqa: D102
        self.message(f"{study} {trial_name(number)}: started")

    def trial_ended(  # noqa: D102
        self, study: str, number: int, status: str, valid_accuracy: float | None, seconds: float, reason: str = ""
    ) -> None:
        score = "" if valid_accuracy is None else f", validation accuracy {percent(valid_accuracy)}"
        self.message(
            f"{study} {trial_name(number)}: {words(status)}{score}, {seconds:.1f} s" + (f": {reason}" if reason else "")
        )

    def message(self, text: str) -> None:  # noqa: D102
        # A reason may be a whole traceback: a log has one event a line.
        print(f"[{clock(time.monotonic() - self._start)}] {' '.join(text.split())}", file=self._stream, flush=True)
