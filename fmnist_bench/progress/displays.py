"""What shows the events of a run: a live table on a terminal, plain lines in a log, JSON for scripts."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

from fmnist_bench.progress.events import Progress, clock, listed, percent, trial_name, words

__all__ = ["JsonLines", "PlainLines", "Progress", "make_progress"]


def make_progress(stream: TextIO | None = None, quiet: bool = False, as_json: bool = False) -> Progress:
    """Choose the display that fits.

    Parameters
    ----------
    stream : file object or None
        A terminal that can move its cursor gets `LiveTable`, everything else `PlainLines`. None: standard output.
    quiet : bool
        Show nothing.
    as_json : bool
        `JsonLines`, whatever the stream is.

    Returns
    -------
    Progress
        Ready for `run_started`.
    """
    if quiet:
        return Progress()
    stream = stream or sys.stdout
    if as_json:
        return JsonLines(stream)
    if not stream.isatty():
        return PlainLines(stream)
    from rich.console import Console

    from fmnist_bench.progress.live_table import LiveTable

    console = Console(file=stream)
    return PlainLines(stream) if console.is_dumb_terminal else LiveTable(console)


class PlainLines(Progress):
    """One line an event; steps within a trial are silent.

    Parameters
    ----------
    stream : file object
        Where the lines go; flushed after each.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._start = time.monotonic()

    def run_started(self, title: str, budget_seconds: float | None, studies: list[str]) -> None:  # noqa: D102
        self._start = time.monotonic()
        budget = "no time limit" if budget_seconds is None else f"budget {clock(budget_seconds)}"
        self.message(f"{title}: {listed(studies)}, {budget}; Ctrl-C ends the search and keeps everything")

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


class JsonLines(Progress):
    """One JSON object a line, as ``schemas/event.json`` describes them; for scripts.

    Parameters
    ----------
    stream : file object
        Where the lines go; flushed after each.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream, self._ended = stream or sys.stdout, False

    def run_started(self, title: str, budget_seconds: float | None, studies: list[str]) -> None:  # noqa: D102
        self._ended = False
        self._write("run_started", benchmark=title, budget_seconds=budget_seconds, studies=studies)

    def study_state(self, study: str, counts: dict[str, int], best: float | None, seconds: float) -> None:  # noqa: D102
        self._write("study_state", study=study, trials=counts, best_valid_accuracy=best, seconds=seconds)

    def trial_started(self, study: str, number: int) -> None:  # noqa: D102
        self._write("trial_started", study=study, trial=number)

    def trial_progress(self, study: str, number: int, step: int, score: float) -> None:  # noqa: D102
        self._write("trial_progress", study=study, trial=number, step=step, valid_accuracy=score)

    def trial_stage(self, study: str, number: int, stage: str, share: float) -> None:  # noqa: D102
        self._write("trial_stage", study=study, trial=number, stage=stage, share=round(share, 4))

    def trial_ended(  # noqa: D102
        self, study: str, number: int, status: str, valid_accuracy: float | None, seconds: float, reason: str = ""
    ) -> None:
        outcome = {"status": status, "valid_accuracy": valid_accuracy, "seconds": seconds, "reason": reason}
        self._write("trial_ended", study=study, trial=number, **outcome)

    def message(self, text: str) -> None:  # noqa: D102
        self._write("message", text=text)

    def run_ended(self) -> None:  # noqa: D102
        if not self._ended:
            self._ended = True
            self._write("run_ended")

    def result(self, summary: Mapping[str, Any]) -> None:  # noqa: D102
        self._write("result", **summary)

    def _write(self, event: str, **fields: Any) -> None:
        line = json.dumps({"event": event, "time": round(time.time(), 3), **_finite(fields)}, allow_nan=False)
        self._stream.write(line + "\n")  # at once: trials report from threads of their own
        self._stream.flush()


def _finite(value: Any) -> Any:
    """Replace what JSON cannot hold, such as the score of a network that diverged, by null."""
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
