"""The live table of a run on a terminal: studies, trials in progress, time that is left."""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fmnist_bench.progress.events import AS_WANTED, NO_FAILURE, Progress, clock, percent, trial_name, words

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table

BAR = 10  # characters of the bar of a long computation
COLUMNS = {"Done": 4, "Pruned": 6, "Failed": 6, "Valid, %": 8, "Time": 7}  # with their least widths
RUNNING = "Running"  # the last column
# What goes where there is no room: which columns, and how wide the last one is then.
SPARED: tuple[tuple[set[str], int], ...] = (
    (set(), 20),
    ({"Pruned"}, 20),
    ({"Pruned", "Time"}, 20),
    ({"Pruned", "Time"}, 7),
    ({"Pruned", "Time", "Failed"}, 7),
    ({"Pruned", "Time", "Failed", RUNNING}, 0),
)
LONGEST_NAME = 22
AROUND = 8  # lines of the screen that are no rows: title, bar, best, heads, legend, margins
LEGEND = "Pruned: ended early, others did better · #2: trial 2 · step: epoch or round"


@dataclass
class _Running:
    began: float
    step: int | None = None
    score: float = 0.0
    stage: tuple[str, float] | None = None  # the long computation in progress, and the share of it that is done


@dataclass
class _Study:
    counts: Counter[str] = field(default_factory=Counter)
    best: float | None = None
    seconds: float = 0.0
    running: dict[int, _Running] = field(default_factory=dict)
    fault: str = ""  # how the last trial ended, where it was to end otherwise

    @property
    def failed(self) -> int:
        return self.counts.total() - sum(self.counts[status] for status in NO_FAILURE)

    def spent(self, now: float) -> float:
        return self.seconds + sum(now - trial.began for trial in self.running.values())


class LiveTable(Progress):
    """A table that is redrawn twice a second, so that the clock moves during a long trial.

    Parameters
    ----------
    console : rich.console.Console
        Where it is drawn.
    transient : bool
        Whether the table goes at the end, where a leaderboard follows.
    """

    def __init__(self, console: Console, transient: bool = False) -> None:
        self._console, self._transient = console, transient
        self._lock = threading.RLock()  # rich draws from a thread of its own
        self._title, self._start = "", time.monotonic()
        self._budget: float | None = None
        self._end: float | None = None
        self._studies: dict[str, _Study] = {}
        self._live = self._screen()

    def _screen(self) -> Any:
        """Make what draws the table again and again between ``start()`` and ``stop()``."""
        from rich.live import Live

        return Live(console=self._console, refresh_per_second=2, get_renderable=self._draw, transient=self._transient)

    def run_started(self, title: str, budget: float | None, studies: list[str], spent: float = 0.0) -> None:  # noqa: D102
        with self._lock:
            self._title, self._budget, self._start, self._end = title, budget, time.monotonic() - spent, None
            self._studies = {study: _Study() for study in studies}
        self._live.start(refresh=True)

    def study_state(self, study: str, counts: dict[str, int], best: float | None, seconds: float) -> None:  # noqa: D102
        with self._lock:
            self._studies[study] = _Study(Counter(counts), best, seconds)

    def trial_started(self, study: str, number: int) -> None:  # noqa: D102
        with self._lock:
            self._studies.setdefault(study, _Study()).running[number] = _Running(time.monotonic())

    def trial_progress(self, study: str, number: int, step: int, score: float) -> None:  # noqa: D102
        with self._lock:
            if trial := self._studies.setdefault(study, _Study()).running.get(number):
                trial.step, trial.score = step, score
                trial.stage = trial.stage if number < 0 else None  # an augmentation goes on with what it learns

    def trial_stage(self, study: str, number: int, stage: str, share: float) -> None:  # noqa: D102
        with self._lock:
            if trial := self._studies.setdefault(study, _Study()).running.get(number):
                trial.stage = (stage, share) if share < 1 else None

    def trial_ended(  # noqa: D102
        self, study: str, number: int, status: str, valid_accuracy: float | None, seconds: float, reason: str = ""
    ) -> None:
        with self._lock:
            row = self._studies.setdefault(study, _Study())
            row.running.pop(number, None)
            row.counts[status] += 1
            row.fault = "" if status in AS_WANTED else words(status)
            row.seconds += seconds
            if status == "complete" and valid_accuracy is not None:
                row.best = max(valid_accuracy, row.best or 0.0)
        if status not in AS_WANTED:
            self._tell_fault(f"{study} {trial_name(number)}: {words(status)}" + (f": {reason}" if reason else ""))

    def message(self, text: str) -> None:  # noqa: D102
        self._console.print(" ".join(text.split()), markup=False, highlight=False)

    def _tell_fault(self, text: str) -> None:
        """Say it in one line; the report has the whole reason."""
        line = " ".join(text.split())
        self._console.print(line, markup=False, highlight=False, no_wrap=True, overflow="ellipsis")

    def run_ended(self) -> None:  # noqa: D102
        with self._lock:
            self._end = self._end or time.monotonic()
            for study in self._studies.values():
                study.running.clear()
        self._live.stop()

    def _draw(self) -> RenderableType:
        from rich.console import Group
        from rich.constrain import Constrain
        from rich.text import Text

        with self._lock:
            now = self._end or time.monotonic()
            hint = "" if self._end else "  Ctrl-C ends the search and keeps everything"
            head = Text.assemble((self._title, "bold"), (hint, "dim"))
            best = max(self._studies.items(), key=lambda row: row[1].best or 0.0, default=("", _Study()))
            found = [] if best[1].best is None else [Text(f"Best so far: {percent(best[1].best)} ({best[0]})")]
            # A terminal echoes ^C at the cursor: without room for it a line of the old table stays on the screen.
            table = Constrain(self._table(now), self._console.width - 4)
            legend = [] if self._end or self._console.width <= len(LEGEND) else [Text(LEGEND, "dim")]
            return Group(head, self._bar(now - self._start), *found, table, *legend)

    def _bar(self, elapsed: float) -> RenderableType:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        line = Table.grid(padding=(0, 2))
        if self._budget is None:
            line.add_row(f"{clock(elapsed)} spent, no time limit")
            return line
        left = self._budget - elapsed
        words = f"{clock(left)} left of" if left >= 0 else f"{clock(-left)} beyond"
        words = f"{clock(elapsed)} used of" if self._end else words
        bar = ProgressBar(total=max(self._budget, 1e-9), completed=min(elapsed, self._budget), width=30)
        line.add_row(bar, f"{words} {clock(self._budget)}")
        return line

    def _table(self, now: float) -> Table:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        longest = max(map(len, self._studies), default=0)
        spared, last = _spared(self._console.width - 4 - longest)
        table.add_column("Study", overflow="ellipsis", no_wrap=True, min_width=min(longest, LONGEST_NAME))
        for title, width in COLUMNS.items():
            if title not in spared:
                table.add_column(title, justify="right", no_wrap=True, min_width=width)
        if RUNNING not in spared:
            table.add_column(RUNNING, no_wrap=True, min_width=last)
        top = max((study.best for study in self._studies.values() if study.best is not None), default=None)
        for name, study in self._rows():
            is_top = study.best is not None and study.best == top
            cells: dict[str, str | Text] = {
                "Done": str(study.counts["complete"] or "–"),
                "Pruned": str(study.counts["pruned"] or "–"),
                "Failed": Text(str(study.failed or "–"), "red" if study.failed else ""),
                "Valid, %": Text(percent(study.best, unit=""), "bold green" if is_top else ""),
                "Time": clock(study.spent(now)),
                RUNNING: Text(_now(study, now), "cyan" if study.running else "dim"),
            }
            table.add_row(Text(name), *(cell for title, cell in cells.items() if title not in spared))
        return table

    def _rows(self) -> list[tuple[str, _Study]]:
        rows = sorted(self._studies.items(), key=lambda row: -(row[1].best or 0.0))
        if self._end is None and len(rows) > self._console.height - AROUND:
            rows.sort(key=lambda row: not row[1].running)  # what does not fit is cut off below
        return rows


def _spared(room: int) -> tuple[set[str], int]:
    """Choose what goes so that the columns behind the names fit in `room`; each needs two characters more."""
    for spared, last in SPARED:
        widths = [width for title, width in COLUMNS.items() if title not in spared] + [last] * (RUNNING not in spared)
        if sum(widths) + 2 * len(widths) <= room:
            return spared, last
    return SPARED[-1]


def _now(study: _Study, now: float) -> str:
    """Name the newest trial in progress, with its last score, how far its features are, or the time that it has run."""
    if not study.running:
        return "" if study.counts["complete"] else study.fault
    number = max(study.running)
    trial, others = study.running[number], len(study.running) - 1
    name = trial_name(number) if number < 0 else f"#{number}"
    if trial.stage:
        state = _bar(*trial.stage)
    else:
        state = clock(now - trial.began) if trial.step is None else f"step {trial.step}: {percent(trial.score)}"
    return f"{name} {state}" + (f" (+{others} more)" if others else "")


def _bar(what: str, share: float) -> str:
    filled = round(BAR * share)
    return f"{what} {'━' * filled}{'╌' * (BAR - filled)} {share:.0%}"
