"""The events of a run, for whoever watches it."""

from collections.abc import Mapping, Sequence
from typing import Any

AS_WANTED = ("complete", "prepared", "pruned")  # statuses of which nothing has to be said
NO_FAILURE = (*AS_WANTED, "interrupted", "no_weights")


class Progress:
    """The events of a run; this class itself shows none of them.

    `run_ended` may be called more than once, so that it can stand in a `finally` clause.
    """

    def run_started(self, title: str, budget: float | None, studies: list[str], spent: float = 0.0) -> None:
        """Begin the search: `budget` is the whole one in seconds, None is no limit; `spent` of it are used already."""

    def study_state(self, study: str, counts: dict[str, int], best: float | None, seconds: float) -> None:
        """Set what a resumed study has already: trials by status, best validation accuracy, seconds spent."""

    def trial_started(self, study: str, number: int) -> None:
        """Show that a trial began."""

    def trial_progress(self, study: str, number: int, step: int, score: float) -> None:
        """Show the validation accuracy of a trial in progress, a share between 0 and 1."""

    def trial_stage(self, study: str, number: int, stage: str, share: float) -> None:
        """Show how far a long computation of a trial is, such as its features: a share between 0 and 1."""

    def trial_ended(
        self, study: str, number: int, status: str, valid_accuracy: float | None, seconds: float, reason: str = ""
    ) -> None:
        """Show that a trial ended, with a status of the store and a reason, which most complete ones have none of."""

    def message(self, text: str) -> None:
        """Say something in plain words."""

    def run_ended(self) -> None:
        """End the display; what it showed last stays on the screen."""

    def result(self, summary: Mapping[str, Any]) -> None:
        """Show what a run has found, as `Outcome.summary` gives it; the command line prints its own leaderboard."""


def trial_name(number: int) -> str:
    """Write the number of a trial as words; below 0 is what the study's augmentation learns before the first."""
    return "augmentation" if number < 0 else f"trial {number}"


def words(status: str) -> str:
    """Write a status of the store as words."""
    return status.replace("_", " ")


def percent(share: float | None, unit: str = " %") -> str:
    """Write a share as percent with two digits, None as a dash."""
    return "–" if share is None else f"{100 * share:.2f}{unit}"


def clock(seconds: float) -> str:
    """Write seconds as `m:ss` or `h:mm:ss`."""
    whole = round(seconds)
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def listed(studies: Sequence[str]) -> str:
    """Count the studies, and name them."""
    return f"{len(studies)} {'study' if len(studies) == 1 else 'studies'} ({', '.join(studies)})"
